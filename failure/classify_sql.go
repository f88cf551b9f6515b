package failure

// sqlRules: what a database said.
var sqlRules = []rule{
	{has[sqlStater], readSQLState},
}

// sqlStater is what drivers for PostgreSQL (pgx, lib/pq) and others implement.
type sqlStater interface{ SQLState() string }

func readSQLState(err error) finding {
	state := err.(sqlStater).SQLState()
	if len(state) != 5 {
		return finding{}
	}
	return finding{sqlStateClass(state), state, specific}
}

func sqlStateClass(state string) Class {
	switch state {
	case "40001", "40P01", "55P03":
		return ClassResource
	case "57014":
		return ClassTimeout
	}
	switch state[:2] {
	case "08":
		return ClassDependency
	case "53":
		return ClassResource
	case "22", "23":
		return ClassData
	case "42":
		return ClassBug
	}
	return ""
}
