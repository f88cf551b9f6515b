package brokertest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/anyqueue/anyqueue/broker"
)

var publishCases = []testCase{
	{name: "AConfirmedMessageCanBeReceived", promise: noSilentLoss, run: confirmedIsReceivable},
	{name: "AConfirmedMessageWaitsForItsFirstConsumer", promise: noSilentLoss, run: confirmedWaits},
	{name: "AQueueThatDoesNotExistIsNotFound", promise: noSilentLoss, run: publishToMissing},
	{name: "AMessageOverTheLimitIsRefusedAndNotStored", promise: noSilentLoss, run: publishTooLarge},
	{name: "PublishErrorNamesExactlyWhatFailed", promise: noSilentLoss, run: publishErrorNames},
	{name: "ANilMessageIsInvalid", promise: ownsItsResults, run: publishNil},
	{name: "PublishWorksFromManyGoroutines", promise: noSilentLoss, run: publishConcurrently},
	{name: "ACancelledPublishSaysNothingFalse", promise: noSilentLoss, run: publishCancelled},
	{name: "AClosedPublisherSaysSo", promise: ownsItsResults, run: publishAfterClose},
}

// Publish returns when the messages are safe: all can be had, once each.
func confirmedIsReceivable(e *env) {
	q := e.queue()
	a := q.consumer()
	ms := numbered(50)
	q.publish(ms...)
	e.sameBodies("after a confirmed Publish", a.receiveAndAck(len(ms)), texts(ms)...)
	q.empty()
}

// The queue keeps messages for a consumer that comes later.
func confirmedWaits(e *env) {
	q := e.queue()
	q.publish(numbered(2)...)
	a := q.consumer()
	e.sameBodies("a consumer that came after Publish", a.receiveAndAck(2), "message 0", "message 1")
}

// receiveAndAck receives n messages, acknowledging each batch before the next
// Receive: where keys or prefetch hold messages back, they then flow.
func (c *consumer) receiveAndAck(n int) []*got {
	c.Helper()
	var gots []*got
	for len(gots) < n {
		more := c.poll(c.h.Patience, broker.Credit{Messages: n - len(gots), Bytes: plenty}, c)
		if len(more) == 0 {
			c.Fatalf("got %d of %d messages within %v%s", len(gots), n, c.h.Patience, bodies(gots))
		}
		ackAll(more)
		gots = append(gots, more...)
	}
	return gots
}

// texts returns the bodies of messages.
func texts(ms []*broker.Message) []string {
	s := make([]string, len(ms))
	for i, m := range ms {
		s[i] = string(m.Body)
	}
	return s
}

// Publishing to nowhere is an error that says so, not a message lost.
func publishToMissing(e *env) {
	q := e.queue()
	if err := q.tryPublish(q.Missing, plain("to nowhere")); !errors.Is(err, broker.ErrNotFound) {
		e.Errorf("publish to %q, which does not exist: error is %v, want one that matches broker.ErrNotFound", q.Missing, err)
	}
}

// overLimit returns a message that is larger than the broker takes, or skips.
func (c *consumer) overLimit() *broker.Message {
	c.Helper()
	const bearable = 32 << 20
	limit := c.caps.MaxMessageBytes
	c.needs(limit > 0, "a known limit: Capabilities.MaxMessageBytes is 0")
	c.needs(limit <= bearable, fmt.Sprintf("a limit of at most %d MiB: Capabilities.MaxMessageBytes is %d", bearable>>20, limit))
	return plain(strings.Repeat("x", limit+1))
}

// What the broker cannot hold is refused as a whole, with an error that says
// that trying again is useless.
func publishTooLarge(e *env) {
	q := e.queue()
	m := q.consumer().overLimit()
	if err := q.tryPublish(q.Name, m); !errors.Is(err, broker.ErrTooLarge) {
		e.Errorf("publish %d bytes: error is %v, want one that matches broker.ErrTooLarge", len(m.Body), err)
	}
	q.empty()
	q.publish(plain("small"))
	e.sameBodies("after a refused message", q.consumers[0].receiveAndAck(1), "small")
}

// In a batch, those that a PublishError does not name are safe, and those that
// it names as too large are not stored.
func publishErrorNames(e *env) {
	q := e.queue()
	a := q.consumer()
	ms := numbered(5)
	ms[1], ms[3] = a.overLimit(), a.overLimit()
	err := q.tryPublish(q.Name, ms...)
	if !errors.Is(err, broker.ErrTooLarge) {
		e.Fatalf("publish with two messages over the limit: error is %v, want one that matches broker.ErrTooLarge", err)
	}
	var named *broker.PublishError
	if !errors.As(err, &named) {
		e.Logf("the error names no messages: none of them is known to be safe (%v)", err)
		return
	}
	var safe []*broker.Message
	for i, m := range ms {
		if !slices.ContainsFunc(named.Failed, func(f broker.Failed) bool { return f.Index == i }) {
			safe = append(safe, m)
		}
	}
	if len(safe) != 3 || slices.Contains(safe, ms[1]) || slices.Contains(safe, ms[3]) {
		e.Errorf("PublishError names %v of 5 messages, want 1 and 3", indexes(named.Failed))
	}
	e.sameBodies("what PublishError does not name", a.receiveAndAck(len(safe)), texts(safe)...)
	q.empty()
}

// indexes returns the positions that an error names, ascending.
func indexes(failed []broker.Failed) []int {
	is := make([]int, len(failed))
	for i, f := range failed {
		is[i] = f.Index
	}
	slices.Sort(is)
	return is
}

// A nil message is an error, not a panic.
func publishNil(e *env) {
	q := e.queue()
	if err := q.tryPublish(q.Name, nil); !errors.Is(err, broker.ErrInvalid) {
		e.Errorf("publish a nil message: error is %v, want one that matches broker.ErrInvalid", err)
	}
}

// One publisher serves many goroutines.
func publishConcurrently(e *env) {
	q := e.queue()
	a := q.consumer()
	const goroutines, each = 8, 10
	q.publish(plain("opens the publisher"))
	var wg sync.WaitGroup
	want := []string{"opens the publisher"}
	for g := range goroutines {
		for i := range each {
			want = append(want, fmt.Sprintf("%d-%d", g, i))
		}
		wg.Go(func() {
			for i := range each {
				if err := q.tryPublish(q.Name, plain(fmt.Sprintf("%d-%d", g, i))); err != nil {
					e.Errorf("publish from goroutine %d: %v", g, err)
				}
			}
		})
	}
	wg.Wait()
	e.sameBodies("published from many goroutines", a.receiveAndAck(len(want)), want...)
	q.empty()
}

// A Publish whose context has ended returns soon; if it claims success, the
// message is there.
func publishCancelled(e *env) {
	q := e.queue()
	a := q.consumer()
	q.publish(plain("before"))
	ctx, cancel := context.WithCancel(e.Context())
	cancel()
	done := make(chan error, 1)
	go func() { done <- q.publisher.Publish(ctx, q.Name, plain("cancelled")) }()
	var err error
	e.eventually("a cancelled Publish returns", func() bool {
		select {
		case err = <-done:
			return true
		default:
			return false
		}
	})
	if err == nil {
		e.sameBodies("published with success", a.receiveAndAck(2), "before", "cancelled")
		return
	}
	q.publish(plain("after"))
	want := map[string]bool{"before": true, "after": true}
	for len(want) > 0 { // the cancelled one may have been stored all the same
		delete(want, string(a.receiveAndAck(1)[0].Body))
	}
}

// After Close the error says whose doing it is.
func publishAfterClose(e *env) {
	q := e.queue()
	q.consumer()
	q.publish(plain("before"))
	if err := e.call(q.publisher.Close); err != nil {
		e.Errorf("Close of a publisher: %v", err)
	}
	if err := q.tryPublish(q.Name, plain("after")); !errors.Is(err, broker.ErrClosed) {
		e.Errorf("publish after Close: error is %v, want one that matches broker.ErrClosed", err)
	}
	q.receive(1)[0].ack()
	q.empty()
}
