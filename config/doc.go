// Package config opens a worker from a YAML file, so that the broker, the queue
// and the numbers can change without the program.
//
//	# yaml-language-server: $schema=anyqueue.schema.json
//	broker: memory
//	queue: refunds
//	memory:                  # the section of the broker; its driver says what it holds
//	  lease: 30s
//	consumer:                # the same on every broker
//	  concurrency: 16
//	  max_in_flight_bytes: 64MiB
//	  ordering: key
//	  timeout: ${HANDLER_TIMEOUT:-10s}
//	  retry:
//	    max_attempts: 8
//	    backoff: {initial: 200ms, max: 1m, factor: 1.5, jitter: 1}
//	    classes:
//	      dependency: {max_attempts: 5, backoff: {initial: 1s, max: 5m}}
//
// [Open] reads such a file and connects; [Load] and [File.Open] do it in two steps,
// the first of which is all that a check of the file needs. The drivers of the
// brokers that a file may name are arguments, so that a program links only the
// clients that it uses.
//
// # What a file may say
//
// Every key that the program does not know is a fault. So are a key that stands
// twice, a value of the wrong type, a number where a text is wanted or the other
// way round, an explicit 0 where that would silently mean a default, and a
// combination of values that makes no sense. All faults are reported at once, each
// with its line and column: see [Error].
//
// A duration has units and no spaces: 500ms, 1h30m, 7d; the units are ns, us, ms,
// s, m, h and d (24 hours). A negative one has its minus in front. A size, which is
// every number whose key ends in _bytes, is a number of bytes or one with a unit:
// 512KB (by 1000), 64MiB (by 1024). All other numbers are decimal digits.
//
// A file is one YAML document in UTF-8 of at most 1 MiB. Anchors, aliases, merge
// keys and tags are refused.
//
// # Variables
//
// These are expanded in every value, however it is quoted, and nowhere else:
//
//	${NAME}            the environment variable; a fault when it is not set
//	${NAME:-default}   default when it is not set or empty
//	${NAME:?message}   a fault with this message when it is not set or empty
//	$$                 a dollar sign
//
// Inside of [] and {}, YAML itself wants quotes around a value with braces in it.
// This happens after the file was parsed: whatever a variable holds, it is one
// value, and cannot bring in keys, sections or further variables.
//
// # Secrets
//
// A setting of type [broker.Secret] (a password, a URL with credentials) may be
// given in a file of its own, as orchestrators provide them:
//
//	url: file:/run/secrets/broker_url
//
// The content without its last line break becomes the value; a relative path is
// relative to the configuration file, and may hold variables. file: has this
// meaning only where it stands in the configuration itself, not in a variable.
// Secrets are never printed: not in faults, and not by whatever formats, logs or
// encodes the settings.
//
// # Writing a driver
//
// A driver's settings are a struct whose fields may be booleans, numbers, strings,
// [time.Duration], [broker.Secret], types that implement
// [encoding.TextUnmarshaler], and structs, slices, string-keyed maps and pointers
// of these. Besides yaml, these tags are read:
//
//	doc:"..."          the description that editors show
//	required:"true"    the key must be given, and not be empty
//	enum:"a,b"         the values (in a map: the keys) that are allowed
//	min:"1" max:"9"    bounds of a number, for editors; Validate enforces them
//	default:"30s"      what the zero value stands for; an explicit 0 is a fault
//	negative:"none"    what a negative value means
//
// A method Validate() error reports what is wrong with the values as joined
// [*broker.FieldError]. Their Go paths ("Hosts[2].Port") are turned into keys and
// positions; so are those that opening the queue returns. A secret that a Problem
// quotes as a whole is taken out of it; a part of one cannot be recognised, so
// write no parser's error about a secret into a Problem.
package config
