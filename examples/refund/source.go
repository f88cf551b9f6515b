package main

import (
	"iter"

	"github.com/anyqueue/anyqueue/broker"
)

// batchOrders is how many orders' requests are published together: some 25
// messages, which no broker finds too many.
const batchOrders = 8

// source says what there is to publish, batch after batch. Before it yields a
// message it enters the order and the account, with what is expected of them, so
// that whatever comes back is known. It is consumed once.
type source interface {
	batches() iter.Seq2[[]*broker.Message, error]
}

// desk enters what a source publishes.
type desk struct {
	orders   *orderBook
	accounts *accounts
}

// message makes the message of an account.
func (d desk) message(n int, key string, version int, body []byte) *broker.Message {
	return &broker.Message{ID: d.accounts.id(n), Key: key, Type: requestType, SchemaVersion: version, Body: body}
}
