package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/failure"
)

// deadLetters is what was found in the dead-letter queue of this run.
type deadLetters struct {
	byID   map[string]deadLetter
	groups []deadGroup
	oldest time.Duration // greatest age of a message when it failed for good
}

// deadLetter is what became of one message ID.
type deadLetter struct {
	copies int
	class  failure.Class // of the last one
}

// deadGroup is all dead letters that failed in the same way.
type deadGroup struct {
	Class       failure.Class `json:"class"`
	Fingerprint string        `json:"fingerprint"`
	Count       int           `json:"count"`
	// Example is the error of one of them, MessageID that message, and Attempts how
	// often it was tried.
	Example   string `json:"example"`
	MessageID string `json:"message_id"`
	Attempts  int    `json:"attempts"`
}

// count returns how many dead letters of a message there are.
func (d *deadLetters) count(id string) int { return d.byID[id].copies }

// How the dead-letter queue is read: until all that are wanted were found, or
// nothing came for a while; and never more than fits in memory, in a queue that
// is full of others' dead letters.
const (
	sweepQuiet = 2 * time.Second
	maxSweep   = 200_000
)

// sweep reads the dead-letter queue and leaves it as it was: every message is
// released again. It stops when it has found as many of this run as are wanted.
func sweep(ctx context.Context, sub broker.Subscription, mine func(id string) bool, wanted int64) (*deadLetters, error) {
	found := &deadLetters{byID: map[string]deadLetter{}}
	groups := map[string]*deadGroup{}
	var read []broker.Settlement
	var fault error
	for n := int64(0); n < wanted && len(read) < maxSweep; {
		receiving, cancel := context.WithTimeout(ctx, sweepQuiet)
		ds, err := sub.Receive(receiving, broker.Credit{Messages: 1000, Bytes: 16 << 20})
		cancel()
		if errors.Is(err, context.DeadlineExceeded) {
			break
		}
		if err != nil {
			fault = fmt.Errorf("read the dead letters: %w", err)
			break
		}
		for i := range ds {
			d := &ds[i]
			read = append(read, broker.Settlement{Delivery: d, Action: broker.Release, Attempt: d.Attempt, Failure: d.Failure})
			if mine(d.ID) {
				found.add(d, groups)
				n++
			}
		}
	}
	most := max(sub.Capabilities().MaxSettle, 1)
	for part := range slices.Chunk(read, most) {
		if err := sub.Settle(context.WithoutCancel(ctx), part); err != nil {
			fault = errors.Join(fault, fmt.Errorf("give the dead letters back: %w", err))
		}
	}
	for _, g := range groups {
		found.groups = append(found.groups, *g)
	}
	slices.SortFunc(found.groups, func(a, b deadGroup) int {
		return cmp.Or(cmp.Compare(a.Class, b.Class), cmp.Compare(b.Count, a.Count), cmp.Compare(a.Fingerprint, b.Fingerprint))
	})
	return found, fault
}

// add enters one dead letter. Its record says why it is there.
func (d *deadLetters) add(m *broker.Delivery, groups map[string]*deadGroup) {
	r := m.Failure
	if r == nil { // put there by somebody else than a consumer
		r = &failure.Record{Class: failure.ClassUnclassified}
	}
	e := d.byID[m.ID]
	d.byID[m.ID] = deadLetter{copies: e.copies + 1, class: r.Class}
	d.oldest = max(d.oldest, r.Last.Sub(m.PublishedAt))
	key := string(r.Class) + " " + r.Fingerprint
	g := groups[key]
	if g == nil {
		g = &deadGroup{Class: r.Class, Fingerprint: r.Fingerprint, Example: r.Message(), MessageID: m.ID, Attempts: r.Count}
		groups[key] = g
	}
	g.Count++
}
