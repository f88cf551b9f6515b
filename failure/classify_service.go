package failure

import (
	"reflect"
	"strconv"
	"strings"
)

// serviceRules read what a service answered over HTTP or gRPC, by the methods
// that its client library gives its errors.
var serviceRules = []rule{
	{has[selfNamed], readSelfNamed},
	{has[awsCoder], readAWSCode},
	{isGRPCError, readGRPCCode},
	{has[httpStatusCoder], func(err error) finding { return httpStatus(err.(httpStatusCoder).HTTPStatusCode()) }},
	{has[statusCoder], func(err error) finding { return httpStatus(err.(statusCoder).StatusCode()) }},
}

type (
	// selfNamed is OpenTelemetry's convention for an error that knows its name.
	selfNamed interface{ ErrorType() string }
	// awsCoder is part of smithy.APIError, in errors of the AWS SDK.
	awsCoder interface{ ErrorCode() string }
	// httpStatusCoder is implemented by the AWS SDK's response errors.
	httpStatusCoder interface{ HTTPStatusCode() int }
	// statusCoder is implemented by errors of many other HTTP clients.
	statusCoder interface{ StatusCode() int }
)

func readSelfNamed(err error) finding {
	return finding{"", code(err.(selfNamed).ErrorType()), specific}
}

// code returns s if it looks like a code. A text with spaces in it, or a long
// one, is no name of few distinct values.
func code(s string) string {
	const most = 64
	if len(s) > most || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return ""
	}
	return s
}

func readAWSCode(err error) finding {
	c := code(err.(awsCoder).ErrorCode())
	return finding{awsClasses[c], c, specific}
}

// awsClasses knows the codes that AWS services share. The first group is what
// the AWS SDK for Go takes for throttling (aws/retry, DefaultThrottleErrorCodes)
// and what SQS and KMS add.
var awsClasses = func() map[string]Class {
	classes := make(map[string]Class)
	for class, codes := range map[Class]string{
		ClassResource: `BandwidthLimitExceeded EC2ThrottledException LimitExceededException
			PriorRequestNotComplete ProvisionedThroughputExceededException RequestLimitExceeded
			RequestThrottled RequestThrottledException SlowDown ThrottledException Throttling
			ThrottlingException TooManyRequestsException TransactionInProgressException
			KmsThrottled KMS.ThrottlingException OverLimit`,
		ClassDependency: `InternalError InternalFailure InternalServerError InternalServerException
			RequestTimeout RequestTimeoutException ServiceUnavailable ServiceUnavailableException
			AccessDenied AccessDeniedException AuthFailure ExpiredToken ExpiredTokenException
			InvalidAccessKeyId InvalidClientTokenId RequestExpired SignatureDoesNotMatch
			UnrecognizedClientException`,
	} {
		for c := range strings.FieldsSeq(codes) {
			classes[c] = class
		}
	}
	return classes
}()

// httpStatus reads a status code. Codes for refused credentials (401, 403, 407)
// and for a server that asks to come again (408, 423, 425, 429) are no verdict
// on the request.
func httpStatus(status int) finding {
	if status < 400 || status > 599 {
		return finding{}
	}
	f := finding{ClassData, strconv.Itoa(status), general}
	switch {
	case status >= 500:
		f.class = ClassDependency
	case status == 401, status == 403, status == 407, status == 408, status == 425:
		f.class = ClassDependency
	case status == 423, status == 429:
		f.class = ClassResource
	}
	return f
}

// isGRPCError matches errors with a method GRPCStatus, of whatever version of
// google.golang.org/grpc. That its result fits is found out when it is read.
//
// The name is a constant here and below: the linker can then still drop methods
// that nobody calls, which it cannot in a program that looks methods up by
// number or by a computed name.
func isGRPCError(t reflect.Type) bool {
	m, ok := t.MethodByName("GRPCStatus")
	return ok && m.Type.NumIn() == 1 && m.Type.NumOut() == 1
}

func readGRPCCode(err error) finding {
	status := reflect.ValueOf(err).MethodByName("GRPCStatus").Call(nil)[0]
	c := status.MethodByName("Code").Call(nil)[0].Uint()
	if c >= uint64(len(grpcCodes)) {
		return finding{}
	}
	return grpcCodes[c]
}

// grpcCodes are gRPC's status codes in their order, the first of which is OK.
var grpcCodes = [...]finding{
	{},
	{"", "CANCELLED", specific},
	{"", "UNKNOWN", specific},
	{ClassData, "INVALID_ARGUMENT", specific},
	{ClassTimeout, "DEADLINE_EXCEEDED", specific},
	{ClassData, "NOT_FOUND", specific},
	{ClassData, "ALREADY_EXISTS", specific},
	{ClassDependency, "PERMISSION_DENIED", specific}, // credentials
	{ClassResource, "RESOURCE_EXHAUSTED", specific},
	{ClassData, "FAILED_PRECONDITION", specific},
	{ClassResource, "ABORTED", specific},
	{ClassData, "OUT_OF_RANGE", specific},
	{"", "UNIMPLEMENTED", specific},
	{"", "INTERNAL", specific},
	{ClassDependency, "UNAVAILABLE", specific},
	{"", "DATA_LOSS", specific},
	{ClassDependency, "UNAUTHENTICATED", specific}, // credentials
}
