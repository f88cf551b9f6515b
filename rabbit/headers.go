package rabbit

import (
	"strings"

	amqp "github.com/rabbitmq/amqp091-go"
)

// Names of the headers that the adapter writes. Each is written only when it says
// something, because a header table is the most expensive part of a message: one that
// has an assigned id and nothing else carries no table at all.
const (
	prefix = "anyqueue-"

	headerAttempt = prefix + "attempt"        // int64; the first attempt is not written
	headerFailure = prefix + "failure"        // string: the failure record as JSON
	headerKey     = prefix + "key"            // string: Message.Key, any bytes
	headerVersion = prefix + "schema-version" // int64: Message.SchemaVersion
	// headerPublished is Message.PublishedAt in milliseconds since 1970, an int64; the
	// timestamp property knows seconds only. See publishedAt.
	headerPublished = prefix + "published-at"
	// headerOrder is the names of the application's headers in their order, a string: an
	// AMQP table has no order. See order.go.
	headerOrder = prefix + "order"
	// headerList is the application's headers in their order where the table cannot hold
	// all of them, an array of names and values in turn. See order.go.
	headerList = prefix + "headers"
	// What a copy must not carry in its own place. See copyOf.
	headerUser = prefix + "user-id"
	headerCC   = prefix + "cc"
	headerBCC  = prefix + "bcc"
)

// Headers that the server reads or writes.
const (
	carbonCopy      = "CC"  // the server routes the message to these keys, too
	blindCarbonCopy = "BCC" // the same, and takes the header out
	headerDeath     = "x-death"
	headerDelivered = "x-delivery-count"
	// headerStamped is the time in milliseconds that the server's timestamp interceptor
	// adds next to the timestamp property.
	headerStamped = "timestamp_in_ms"
)

// brokerMade says whether the server writes headers of this name to tell what happened
// to a message on its way. They are no part of what was published.
func brokerMade(name string) bool {
	if len(name) < 7 || name[0] != 'x' || name[1] != '-' {
		return false
	}
	switch name {
	case headerDeath, headerDelivered, "x-acquired-count",
		"x-first-death-exchange", "x-first-death-queue", "x-first-death-reason",
		"x-last-death-exchange", "x-last-death-queue", "x-last-death-reason":
		return true
	}
	return false
}

// applications says whether an entry of a table is a header of the application.
func applications(name string) bool {
	return !strings.HasPrefix(name, prefix) && !brokerMade(name)
}

// visible returns the name under which the application sees an entry of a table, and
// whether it sees it.
func visible(table amqp.Table, name string) (string, bool) {
	switch name {
	case headerCC:
		_, newer := table[carbonCopy]
		return carbonCopy, !newer
	case headerBCC:
		_, newer := table[blindCarbonCopy]
		return blindCarbonCopy, !newer
	}
	return name, applications(name)
}
