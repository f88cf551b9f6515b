package failure

import (
	"database/sql/driver"
	"reflect"
	"strconv"
	"strings"
)

// databaseRules read what a database answered. Drivers are known by the shape of
// their errors, so that none has to be imported.
var databaseRules = []rule{
	{has[sqlStater], readSQLState},
	{isMySQLError, readMySQLError},
	{isTypeOf(driver.ErrBadConn), only(driver.ErrBadConn, ClassDependency)},
}

// sqlStater is implemented by the errors of pgx, lib/pq and others.
type sqlStater interface{ SQLState() string }

func readSQLState(err error) finding {
	state := err.(sqlStater).SQLState()
	if len(state) != 5 || strings.Trim(state, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" {
		return finding{}
	}
	return finding{sqlStateClass(state), state, specific}
}

// sqlStateClass knows PostgreSQL's codes, which CockroachDB and others share.
// See "PostgreSQL Error Codes", appendix A of its manual.
func sqlStateClass(state string) Class {
	switch state {
	case "40001", "40P01", "55P03": // serialization failure, deadlock, lock not available
		return ClassResource
	case "57014": // query cancelled: statement_timeout
		return ClassTimeout
	}
	switch state[:2] {
	case "08", "28": // connection exception; credentials
		return ClassDependency
	case "22", "23": // data exception; integrity constraint violation
		return ClassData
	case "42": // syntax error or access rule violation
		return ClassBug
	case "53": // insufficient resources
		return ClassResource
	}
	if strings.HasPrefix(state, "57P0") { // shutting down, starting up, crashed
		return ClassDependency
	}
	return ""
}

// isMySQLError matches the error of github.com/go-sql-driver/mysql, and of
// drivers that took over its shape: a struct MySQLError with a Number uint16.
func isMySQLError(t reflect.Type) bool {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct || t.Name() != "MySQLError" {
		return false
	}
	f, ok := t.FieldByName("Number")
	return ok && f.Type.Kind() == reflect.Uint16
}

func readMySQLError(err error) finding {
	number := reflect.Indirect(reflect.ValueOf(err)).FieldByName("Number").Uint()
	return finding{mysqlClass(number), "mysql_" + strconv.FormatUint(number, 10), specific}
}

// mysqlClass knows error numbers of MySQL and MariaDB servers, and the two of
// the client for a lost connection. See "Server Error Message Reference" in
// MySQL's manual and "MariaDB Error Code Reference".
func mysqlClass(number uint64) Class {
	switch number {
	case 1205, 1213, 3572, // lock wait timeout, deadlock, NOWAIT
		1206,             // lock table full
		1040, 1203, 1226, // too many connections; limits of a user
		1021, 1037, 1038, 1041, 1114, // disk, memory, sort memory, table full
		1135: // no thread
		return ClassResource
	case 1022, 1062, 1169, 1586, // duplicate key
		1216, 1217, 1451, 1452, // foreign key
		1048, 1364, // null, no default
		1264, 1265, 1292, 1366, 1406, 1690, // out of range, truncated, not of the type, too long
		3140, 3819, 4025: // not JSON; check constraint (MySQL, MariaDB)
		return ClassData
	case 2006, 2013, // server has gone away, lost during query
		1053, 1158, 1159, 1160, 1161, // shutting down; broken packets
		1047,       // a Galera node that is not ready
		1290, 1836, // read only: a fail-over is under way
		1044, 1045, 1129: // credentials refused, host blocked
		return ClassDependency
	case 1969, 3024: // statement took too long (MariaDB, MySQL)
		return ClassTimeout
	case 1064, 1065, 1149, // syntax
		1051, 1052, 1054, 1066, 1109, 1136, 1146, 1305, 1318: // unknown or ambiguous names, wrong counts
		return ClassBug
	default:
		return ""
	}
}
