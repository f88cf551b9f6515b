package failure

func normalize(s string) string { return s }
