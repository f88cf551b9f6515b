package idempotency

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/anyqueue/anyqueue/broker"
)

// ErrFull says that the in-memory store holds as many records as it may. It
// forgets nothing that it promised to remember, so that claims on new keys fail
// until records expire.
var ErrFull = errors.New("idempotency store full")

// MemoryOptions configures [NewMemory]. The zero value is usable.
type MemoryOptions struct {
	// MaxEntries bounds the records that are kept: claims under way and
	// completions in their retention. Default 1,000,000, which is about 350 MB
	// when full with UUIDs as keys; 1 to 100,000,000. It must exceed the messages
	// per second times the retention, or claims begin to fail with [ErrFull].
	MaxEntries int
}

// Default and bound of MemoryOptions.MaxEntries.
const (
	defaultMaxEntries = 1_000_000
	maxMaxEntries     = 100_000_000
)

func (o MemoryOptions) validate() error {
	if o.MaxEntries < 0 || o.MaxEntries > maxMaxEntries {
		return &broker.FieldError{
			Field: "MaxEntries", Value: o.MaxEntries,
			Problem: fmt.Sprintf("must be 1 to %d; leave it 0 for the default of %d", maxMaxEntries, defaultMaxEntries),
		}
	}
	return nil
}

// Memory is a [Store] inside the process. It recognises duplicates that reach
// this process and forgets everything when the process ends: good for tests, for
// the embedded broker, and as a filter before a conditional effect; not enough
// where several processes consume one queue.
//
// Expired records are removed as new claims come, a few with each, so that there
// is no goroutine to stop and no pause to wait for. A claim whose lease has
// ended is remembered for the length of one more lease, for a holder that is
// late.
type Memory struct {
	max   int
	start time.Time // origin of all times, so that the wall clock may be set

	mu      sync.Mutex
	entries map[string]*entry
	held    expiry // claims, apart from completions: few, and they move often
	done    expiry
}

// NewMemory returns an empty store. A fault in the options is a
// [*broker.FieldError].
func NewMemory(o MemoryOptions) (*Memory, error) {
	if err := o.validate(); err != nil {
		return nil, fmt.Errorf("idempotency: memory store: %w", err)
	}
	if o.MaxEntries == 0 {
		o.MaxEntries = defaultMaxEntries
	}
	return &Memory{max: o.MaxEntries, start: time.Now(), entries: make(map[string]*entry)}, nil
}

// Len returns how many records are kept, those expired and not yet removed
// included: what counts against MaxEntries, at most.
func (m *Memory) Len() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.entries)
}

// Claim implements [Store]. It fails with [ErrFull] when the key is new and
// MaxEntries is reached.
func (m *Memory) Claim(ctx context.Context, c Claim, lease time.Duration) (Answer, error) {
	if err := check(ctx, "claim", CheckClaim(c, lease)); err != nil {
		return Answer{}, err
	}
	now := m.now()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.purge(now)

	e := m.entries[c.Key]
	switch {
	case e == nil:
		if len(m.entries) >= m.max {
			return Answer{}, fmt.Errorf("idempotency: claim a new key: memory store holds %d records, its MaxEntries: "+
				"raise it, shorten the retention, or use a store outside of the process: %w", m.max, ErrFull)
		}
		e = &entry{claim: c}
		m.entries[c.Key] = e
		e.hold(now, lease)
		m.held.add(e)
		return Answer{State: New}, nil
	case !e.done && e.claim.Token == c.Token:
		e.hold(now, lease)
		m.held.moved(e)
		return Answer{State: New}, nil
	case !e.live(now):
		m.queue(e).remove(e)
		*e = entry{claim: c}
		e.hold(now, lease)
		m.held.add(e)
		return Answer{State: New}, nil
	case differ(e.claim.Fingerprint, c.Fingerprint):
		return Answer{State: Conflict}, nil
	case e.done:
		return Answer{State: Duplicate, Result: bytesOf(e.result)}, nil
	default:
		return Answer{State: InProgress, Remaining: e.until - now}, nil
	}
}

// Extend implements [Store].
func (m *Memory) Extend(ctx context.Context, c Claim, lease time.Duration) error {
	if err := check(ctx, "extend", CheckClaim(c, lease)); err != nil {
		return err
	}
	now := m.now()
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.own(c, now)
	if e == nil || e.done {
		return lost("extend")
	}
	e.hold(now, lease)
	m.held.moved(e)
	return nil
}

// Complete implements [Store].
func (m *Memory) Complete(ctx context.Context, c Claim, retention time.Duration, result []byte) error {
	if err := check(ctx, "complete", CheckCompletion(c, retention, result)); err != nil {
		return err
	}
	now := m.now()
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.own(c, now)
	switch {
	case e == nil:
		return lost("complete")
	case e.done:
		return nil
	}
	m.held.remove(e)
	e.done, e.result = true, string(result)
	e.until = after(now, retention)
	e.forget = e.until
	m.done.add(e)
	return nil
}

// Release implements [Store].
func (m *Memory) Release(ctx context.Context, c Claim) error {
	if err := check(ctx, "release", CheckClaim(c, 1)); err != nil {
		return err
	}
	now := m.now()
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.own(c, now)
	if e == nil || e.done {
		return lost("release")
	}
	m.held.remove(e)
	delete(m.entries, c.Key)
	return nil
}

func (m *Memory) now() time.Duration { return time.Since(m.start) }

// own returns the record of c if it carries c's token and its time to be
// forgotten has not come.
func (m *Memory) own(c Claim, now time.Duration) *entry {
	e := m.entries[c.Key]
	if e == nil || e.claim.Token != c.Token || now >= e.forget {
		return nil
	}
	return e
}

// purge removes a few expired records. A claim adds one record at most, so that
// taking more than one keeps expired records from ever filling the store, and
// taking few keeps a mass expiry from stalling one caller.
func (m *Memory) purge(now time.Duration) {
	for range 4 {
		for _, q := range [...]*expiry{&m.held, &m.done} {
			if e, ok := q.expired(now); ok {
				delete(m.entries, e.claim.Key)
			}
		}
	}
}

// queue returns the expiry queue that e stands in.
func (m *Memory) queue(e *entry) *expiry {
	if e.done {
		return &m.done
	}
	return &m.held
}

// hold gives the record a lease from now on.
func (e *entry) hold(now, lease time.Duration) {
	e.until = after(now, lease)
	e.forget = after(e.until, lease)
}

// after is t + d without overflow, for a retention that means "for ever".
func after(t, d time.Duration) time.Duration {
	if sum := t + d; sum >= t {
		return sum
	}
	return 1<<63 - 1
}

func differ(a, b string) bool { return a != "" && b != "" && a != b }

func bytesOf(s string) []byte {
	if s == "" {
		return nil
	}
	return []byte(s)
}

func check(ctx context.Context, what string, fault error) error {
	if fault == nil {
		fault = ctx.Err()
	}
	if fault != nil {
		return fmt.Errorf("idempotency: %s: %w", what, fault)
	}
	return nil
}

func lost(what string) error {
	return fmt.Errorf("idempotency: %s: the key is not held by this claim any more: %w", what, ErrClaimLost)
}
