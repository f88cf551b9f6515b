package failure

// ErrorType names err for the attribute error.type of OpenTelemetry, "" for nil:
// with few distinct values and the same one in every run. It is the code that a
// service or the kernel gave (SQLSTATE, AWS, gRPC, errno, HTTP status) if there
// is one, else the Go type of the innermost error that says something by its
// type: those made by errors.New, fmt.Errorf, errors.Join and this package do
// not.
func ErrorType(err error) string {
	if err == nil {
		return ""
	}
	s := summarize(err)
	return s.errorType()
}

func (s *summary) errorType() string {
	if s.code != "" {
		return s.code
	}
	return s.typeName
}
