package failure

// MaxRecordBytes is the most bytes that [Record.Encode] writes and [Decode]
// reads: 32 KiB.
const MaxRecordBytes = 32 << 10

// Bounds of a record's parts, strings in bytes of UTF-8. Together they keep an
// ordinary record well below MaxRecordBytes.
const (
	maxChain        = 16 // links of the error chain: the outermost and the very last
	maxAttempts     = 10 // the first and the latest
	maxMessageBytes = 1 << 10
	maxErrorBytes   = 512 // of an attempt
	maxTypeBytes    = 128
	maxStackBytes   = 12 << 10
	maxNameBytes    = 256 // source, consumer, host, code version
	maxIDBytes      = 64  // fingerprint, trace id
)

// maxTextBytes is how much of an error's message is looked at.
const maxTextBytes = 16 << 10
