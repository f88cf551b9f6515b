package failure_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/anyqueue/anyqueue/failure"
)

// sqlError stands for the errors of pgx and lib/pq.
type sqlError string

func (e sqlError) Error() string    { return "ERROR (SQLSTATE " + string(e) + ")" }
func (e sqlError) SQLState() string { return string(e) }

// Rule: PostgreSQL's codes say what kind of failure it is.
func TestSQLStatesAreClassified(t *testing.T) {
	for class, states := range map[failure.Class][]string{
		"resource":     {"40001", "40P01", "55P03", "53000", "53100", "53200", "53300"},
		"dependency":   {"08000", "08006", "57P01", "57P02", "57P03", "28P01"},
		"timeout":      {"57014"},
		"data":         {"22001", "22P02", "23502", "23503", "23505", "23514"},
		"bug":          {"42601", "42703", "42P01"},
		"unclassified": {"P0001", "0A000", "XX000"},
	} {
		for _, state := range states {
			wantClassified(t, []classified{{state, sqlError(state), class, state}})
		}
	}
	for _, state := range []string{"", "4000", "400011", "40 01", "40001\n", "4000é"} {
		wantClassified(t, []classified{{fmt.Sprintf("no state %q", state), sqlError(state), "unclassified", "failure_test.sqlError"}})
	}
}

// MySQLError has the shape of the one in github.com/go-sql-driver/mysql.
type MySQLError struct {
	Number   uint16
	SQLState [5]byte
	Message  string
}

func (e *MySQLError) Error() string { return fmt.Sprintf("Error %d: %s", e.Number, e.Message) }

// Rule: MySQL's and MariaDB's error numbers say what kind of failure it is.
func TestMySQLErrorNumbersAreClassified(t *testing.T) {
	for class, numbers := range map[failure.Class][]uint16{
		"resource":     {1205, 1213, 1040, 1203, 1226, 3572},
		"dependency":   {2006, 2013, 1053, 1045, 1836},
		"timeout":      {1969, 3024},
		"data":         {1062, 1451, 1452, 1406, 1048, 1264, 3819, 4025},
		"bug":          {1064, 1054, 1146},
		"unclassified": {0, 1644, 65535},
	} {
		for _, number := range numbers {
			name := fmt.Sprintf("mysql_%d", number)
			wantClassified(t, []classified{{name, &MySQLError{Number: number}, class, name}})
		}
	}
	type lookalike struct{ *otherMySQLError }
	wantClassified(t, []classified{
		{"a number of another type", &lookalike{&otherMySQLError{Number: 1205}}, "unclassified", "*failure_test.lookalike"},
	})
}

type otherMySQLError struct{ Number int }

func (*otherMySQLError) Error() string { return "other" }

// awsError has the methods of smithy.APIError that count.
type awsError string

func (e awsError) Error() string        { return "api error " + string(e) }
func (e awsError) ErrorCode() string    { return string(e) }
func (e awsError) ErrorMessage() string { return "" }

// statusError has the method of the AWS SDK's response errors.
type statusError struct {
	status int
	err    error
}

func (e *statusError) Error() string       { return fmt.Sprintf("https response error %d", e.status) }
func (e *statusError) Unwrap() error       { return e.err }
func (e *statusError) HTTPStatusCode() int { return e.status }

// clientError has the method that many HTTP clients give their errors.
type clientError int

func (e clientError) Error() string   { return "status" }
func (e clientError) StatusCode() int { return int(e) }

// Rule: throttling of any AWS service is a resource that ran out, refused
// credentials and internal errors are the dependency's; a code that nobody knows
// names the error all the same, unless it is no code.
func TestAWSErrorCodesAreClassified(t *testing.T) {
	for class, codes := range map[failure.Class][]string{
		"resource":     {"Throttling", "ThrottlingException", "ProvisionedThroughputExceededException", "SlowDown", "OverLimit"},
		"dependency":   {"InternalFailure", "ServiceUnavailable", "ExpiredToken", "AccessDeniedException"},
		"unclassified": {"ConditionalCheckFailedException"},
	} {
		for _, code := range codes {
			wantClassified(t, []classified{{code, awsError(code), class, code}})
		}
	}
	wantClassified(t, []classified{
		{"a text", awsError("order 7 not found"), "unclassified", "failure_test.awsError"},
		{"too long", awsError(strings.Repeat("x", 65)), "unclassified", "failure_test.awsError"},
		{"5xx of AWS", &statusError{503, awsError("Unheard")}, "dependency", "Unheard"},
	})
}

// Rule: an HTTP status says whether the request is at fault (data), the service
// (dependency) or the load (resource); refused credentials are never the
// message's fault.
func TestHTTPStatusesAreClassified(t *testing.T) {
	for class, statuses := range map[failure.Class][]int{
		"data":       {400, 404, 409, 410, 422, 451},
		"dependency": {500, 502, 503, 504, 599, 401, 403, 407, 408, 425},
		"resource":   {429, 423},
	} {
		for _, status := range statuses {
			name := fmt.Sprint(status)
			wantClassified(t, []classified{
				{name, clientError(status), class, name},
				{name + " of AWS", &statusError{status, errors.New("body")}, class, name},
			})
		}
	}
	for _, status := range []int{-1, 0, 200, 302, 399, 600, 42_000} {
		wantClassified(t, []classified{{fmt.Sprint("no failure ", status), clientError(status), "unclassified", "failure_test.clientError"}})
	}
}

// grpcError has the shape of the one in google.golang.org/grpc/status.
type (
	grpcError  struct{ s *grpcStatus }
	grpcStatus struct{ code grpcCode }
	grpcCode   uint32
)

func (e *grpcError) Error() string           { return "rpc error" }
func (e *grpcError) GRPCStatus() *grpcStatus { return e.s }
func (s *grpcStatus) Code() grpcCode         { return s.code }

// Rule: gRPC's status codes say what kind of failure it is.
func TestGRPCStatusesAreClassified(t *testing.T) {
	for code, want := range []struct {
		class failure.Class
		name  string
	}{
		{"unclassified", "*failure_test.grpcError"}, // OK is no failure
		{"unclassified", "CANCELLED"},
		{"unclassified", "UNKNOWN"},
		{"data", "INVALID_ARGUMENT"},
		{"timeout", "DEADLINE_EXCEEDED"},
		{"data", "NOT_FOUND"},
		{"data", "ALREADY_EXISTS"},
		{"dependency", "PERMISSION_DENIED"},
		{"resource", "RESOURCE_EXHAUSTED"},
		{"data", "FAILED_PRECONDITION"},
		{"resource", "ABORTED"},
		{"data", "OUT_OF_RANGE"},
		{"unclassified", "UNIMPLEMENTED"},
		{"unclassified", "INTERNAL"},
		{"dependency", "UNAVAILABLE"},
		{"unclassified", "DATA_LOSS"},
		{"dependency", "UNAUTHENTICATED"},
		{"unclassified", "*failure_test.grpcError"}, // not known to gRPC
	} {
		err := &grpcError{&grpcStatus{grpcCode(code)}}
		wantClassified(t, []classified{{fmt.Sprint(code, want.name), err, want.class, want.name}})
	}
	wantClassified(t, []classified{
		{"no status", &grpcError{}, "unclassified", "*failure_test.grpcError"},
		{"another result", grpcLookalike{}, "unclassified", "failure_test.grpcLookalike"},
		{"a parameter", grpcWithParameter{}, "unclassified", "failure_test.grpcWithParameter"},
	})
}

type (
	grpcLookalike     struct{}
	grpcWithParameter struct{}
)

func (grpcLookalike) Error() string                           { return "rpc" }
func (grpcLookalike) GRPCStatus() string                      { return "UNAVAILABLE" }
func (grpcWithParameter) Error() string                       { return "rpc" }
func (grpcWithParameter) GRPCStatus(verbose bool) *grpcStatus { return &grpcStatus{14} }

// namedError follows OpenTelemetry's convention.
type namedError string

func (e namedError) Error() string     { return "named" }
func (e namedError) ErrorType() string { return string(e) }

// Rule: an error that names itself is named so, unless the name is a text.
func TestErrorThatNamesItselfKeepsItsName(t *testing.T) {
	wantClassified(t, []classified{
		{"name", namedError("payment.declined"), "unclassified", "payment.declined"},
		{"empty", namedError(""), "unclassified", "failure_test.namedError"},
		{"text", namedError("order 7 was declined"), "unclassified", "failure_test.namedError"},
	})
}
