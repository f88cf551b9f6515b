package memory

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/failure"
)

// Whatever is published, received, settled, extended, abandoned, disconnected
// and disturbed by faults, in any order and at any time: the broker delivers
// exactly what a simple model of it delivers, and holds exactly what it holds.
func TestBrokerBehavesAsItsModel(t *testing.T) {
	seeds := uint64(3000)
	if testing.Short() {
		seeds = 300
	}
	synctest.Test(t, func(t *testing.T) {
		for seed := range seeds {
			if text := runSchedule(t, seed); text != "" {
				t.Fatalf("seed %d: %s", seed, text)
			}
		}
	})
}

// schedule is one run of random steps.
type schedule struct {
	t      *testing.T
	r      *rand.Rand
	b      *Broker
	x      *model
	p      *Publisher
	subs   []*Subscription
	leases []*modelLease // all there ever were
	made   int
	script []Fault // the answers to the hooks' next questions
	log    []string
}

func runSchedule(t *testing.T, seed uint64) string {
	r := rand.New(rand.NewPCG(seed, 7))
	flip := func() bool { return r.IntN(4) == 0 }
	o := Queue{
		Name: "q", Lease: time.Duration(1+r.IntN(3)) * time.Second, MaxDelay: 4 * time.Second,
		MaxMessages: r.IntN(2) * 12,
		Without: Without{
			KeyOrder: flip(), Delay: flip(), Attempts: flip(), Failure: flip(), Abandoned: flip(),
			FreeRelease: flip(), DeadLetters: flip(),
		},
	}
	limit := 0 // of the dead-letter queue
	switch r.IntN(3) {
	case 0:
		o.MaxLease = 5 * time.Second
	case 1:
		o.DeliveryLimit = 1 + r.IntN(6)
	case 2:
		limit = r.IntN(4)
	}
	s := &schedule{
		t: t, r: r, b: New(Options{}),
		x: &model{o: o.withDefaults(), session: flip(), limit: limit},
	}
	defer s.b.Close()
	if err := s.b.Declare(o); err != nil {
		return err.Error()
	}
	if !o.Without.DeadLetters {
		if err := s.b.Declare(Queue{Name: "q.dlq", MaxMessages: limit, Without: Without{DeadLetters: true}}); err != nil {
			return err.Error()
		}
	}
	s.p = s.b.Publisher()
	for range 3 {
		sub, err := s.b.Subscribe("q", SubscribeOptions{SessionLeases: s.x.session})
		if err != nil {
			return err.Error()
		}
		s.subs = append(s.subs, sub)
	}
	next := func(context.Context, Op) Fault {
		f := s.script[0]
		s.script = s.script[1:]
		return f
	}
	if err := s.b.Inject("q", Faults{Deliver: next, Settle: next, Extend: next, Publish: next}); err != nil {
		return err.Error()
	}
	steps := []func() string{s.publish, s.receive, s.receive, s.receive, s.settle, s.settle, s.settle, s.extend, s.sleep, s.disconnect}
	for range 80 {
		text := steps[r.IntN(len(steps))]()
		if text == "" {
			text = s.compare()
		}
		if text != "" {
			return fmt.Sprintf("%s\nqueue %+v, sessions %v, dead-letter limit %d, after:\n%s", text, o, s.x.session, limit, strings.Join(s.log, "\n"))
		}
	}
	return ""
}

func (s *schedule) logf(format string, args ...any) {
	s.log = append(s.log, fmt.Sprintf(format, args...))
}

var errFault = errors.New("fault")

// faults makes a script of n answers.
func (s *schedule) faults(n int, kinds ...Fault) []Fault {
	fs := make([]Fault, n)
	for i := range fs {
		if s.r.IntN(6) == 0 {
			fs[i] = kinds[s.r.IntN(len(kinds))]
		}
	}
	s.script = fs
	return fs
}

func (s *schedule) publish() string {
	ms := make([]*broker.Message, 1+s.r.IntN(3))
	for i := range ms {
		s.made++
		ms[i] = &broker.Message{ID: fmt.Sprint("m", s.made), Key: []string{"", "a", "b"}[s.r.IntN(3)], Body: make([]byte, s.r.IntN(10))}
		if s.r.IntN(3) == 0 {
			ms[i].PublishedAt = time.Now().Add(-time.Duration(s.r.IntN(1000)) * time.Second)
		}
	}
	fs := s.faults(len(ms), Fail(errFault), LoseResponse(errFault), LoseRequest(), Duplicate())
	s.logf("publish %d: %v", len(ms), fs)
	want := map[int]error{}
	for i, m := range ms {
		if !fs[i].skip {
			if err := s.x.publish(m); err != nil {
				want[i] = err
				continue
			}
			if fs[i].twice {
				_ = s.x.publish(m)
			}
		}
		if fs[i].err != nil {
			want[i] = fs[i].err
		}
	}
	err := s.p.Publish(s.t.Context(), "q", ms...)
	var failed *broker.PublishError
	errors.As(err, &failed)
	if failed == nil {
		return wantFailed("publish", err, nil, want)
	}
	return wantFailed("publish", err, failed.Failed, want)
}

func wantFailed(what string, err error, got []broker.Failed, want map[int]error) string {
	if len(got) != len(want) || (err == nil) != (len(want) == 0) {
		return fmt.Sprintf("%s: error %v, want %v", what, err, want)
	}
	last := -1
	for _, f := range got {
		if !errors.Is(f.Err, want[f.Index]) || want[f.Index] == nil || f.Index <= last {
			return fmt.Sprintf("%s: error %v, want %v", what, err, want)
		}
		last = f.Index
	}
	return ""
}

func (s *schedule) receive() string {
	who := s.r.IntN(len(s.subs))
	credit := broker.Credit{Messages: 1 + s.r.IntN(5), Bytes: 1 + s.r.IntN(40)}
	now := time.Now()
	s.x.advance(now)
	want := s.x.next(credit)
	fs := s.faults(len(want), Duplicate()) // lost deliveries have their own tests
	s.logf("%d receives with %+v: %v", who, credit, fs)
	ctx, cancel := context.WithTimeout(s.t.Context(), 1)
	defer cancel()
	ds, err := s.subs[who].Receive(ctx, credit)
	if len(want) == 0 {
		if !errors.Is(err, context.DeadlineExceeded) || ds != nil {
			return fmt.Sprintf("received %d, %v; want nothing", len(ds), err)
		}
		return ""
	}
	if err != nil || len(ds) != len(want) {
		return fmt.Sprintf("received %d, %v; want %d", len(ds), err, len(want))
	}
	for i := range ds {
		d := &ds[i]
		m := s.find(d, want[i].seq)
		if m == nil {
			return s.differs(d, want[i])
		}
		l := s.x.take(m, who, d, now)
		s.leases = append(s.leases, l)
		if !d.LeaseUntil.Equal(l.until) {
			return fmt.Sprintf("%s is leased until %v, want %v", d.ID, d.LeaseUntil, l.until)
		}
	}
	for i := range ds {
		if fs[i].twice {
			s.x.duplicate(s.leases[len(s.leases)-len(ds)+i].m)
		}
	}
	return ""
}

// find returns the ready message at a place that d delivers. A message and its
// duplicates stand at the same place, and any of them may come.
func (s *schedule) find(d *broker.Delivery, seq int) *modelMessage {
	for _, m := range s.x.messages {
		if m.seq == seq && s.x.state(m) == Ready && s.differs(d, m) == "" {
			return m
		}
	}
	return nil
}

// differs says what d has that m has not. It looks into the broker where that
// alone tells duplicates apart.
func (s *schedule) differs(d *broker.Delivery, m *modelMessage) string {
	abandoned, e := m.abandoned, d.Ref.(*lease).e
	if s.x.o.Without.Abandoned {
		abandoned = 0
	}
	if d.ID != m.id || d.Key != m.key || d.Attempt != m.attempt || d.Abandoned != abandoned || d.Failure != m.failure ||
		e.abandoned != m.abandoned || e.deliveries-1 != m.deliveries || e.laned == (m.loose || m.key == "" || s.x.o.Without.KeyOrder) {
		return fmt.Sprintf("received %s %q attempt %d abandoned %d %v, want %+v", d.ID, d.Key, d.Attempt, d.Abandoned, d.Failure, m)
	}
	return ""
}

// pick returns up to n deliveries of now or of long ago, each once.
func (s *schedule) pick(n int) []*modelLease {
	var out []*modelLease
	for _, i := range s.r.Perm(len(s.leases)) {
		if len(out) == n {
			break
		}
		if s.leases[i].m != nil || s.r.IntN(8) == 0 {
			out = append(out, s.leases[i])
		}
	}
	return out
}

func (s *schedule) settle() string {
	who := s.r.IntN(len(s.subs))
	picked := s.pick(1 + s.r.IntN(4))
	fs := s.faults(len(picked), Fail(errFault), LoseResponse(errFault), LoseRequest())
	now := time.Now()
	s.x.advance(now)
	xs := make([]broker.Settlement, len(picked))
	want := map[int]error{}
	for i, l := range picked {
		if s.x.session && s.r.IntN(4) > 0 {
			who = picked[0].owner
		}
		xs[i] = broker.Settlement{
			Delivery: l.d,
			Action:   broker.Action(1 + s.r.IntN(4)),
			After:    time.Duration(max(0, s.r.IntN(9)-4)) * time.Second,
			Attempt:  1 + s.r.IntN(5),
			Failure:  &failure.Record{Version: 1, Count: s.r.Int()},
		}
	}
	for i, l := range picked {
		if !fs[i].skip {
			if err := s.x.settle(l, who, xs[i], now); err != nil {
				want[i] = err
				continue
			}
		}
		if fs[i].err != nil {
			want[i] = fs[i].err
		}
	}
	for i, x := range xs {
		s.logf("%d settles %s: %s after %s: %v", who, x.Delivery.ID, x.Action, x.After, fs[i])
	}
	return wantSettled("settle", s.subs[who].Settle(s.t.Context(), xs), want)
}

func wantSettled(what string, err error, want map[int]error) string {
	if failed, ok := errors.AsType[*broker.SettleError](err); ok {
		return wantFailed(what, err, failed.Failed, want)
	}
	return wantFailed(what, err, nil, want)
}

func (s *schedule) extend() string {
	who := s.r.IntN(len(s.subs))
	picked := s.pick(1 + s.r.IntN(3))
	by := time.Duration(s.r.IntN(5)) * time.Second
	fs := s.faults(len(picked), Fail(errFault), LoseResponse(errFault), LoseRequest())
	now := time.Now()
	s.x.advance(now)
	ds := make([]*broker.Delivery, len(picked))
	want := map[int]error{}
	for i, l := range picked {
		ds[i] = l.d
		if !fs[i].skip {
			if err := s.x.extend(l, who, by, now); err != nil {
				want[i] = err
				continue
			}
		}
		if fs[i].err != nil {
			want[i] = fs[i].err
		}
	}
	s.logf("%d extends %d by %s: %v", who, len(ds), by, fs)
	return wantSettled("extend", s.subs[who].Extend(s.t.Context(), ds, by), want)
}

func (s *schedule) sleep() string {
	d := time.Duration(s.r.IntN(2500)) * time.Millisecond
	s.logf("sleep %s", d)
	time.Sleep(d)
	return ""
}

func (s *schedule) disconnect() string {
	who := s.r.IntN(len(s.subs))
	s.logf("%d is disconnected", who)
	s.x.advance(time.Now())
	s.subs[who].Disconnect()
	s.x.disconnect(who)
	s.subs[who].Reconnect()
	return ""
}

// compare compares everything that the queues hold.
func (s *schedule) compare() string {
	s.x.advance(time.Now())
	stored, err := s.b.Messages("q")
	if err != nil {
		return err.Error()
	}
	if len(stored) != len(s.x.messages) {
		return fmt.Sprintf("the queue holds %d messages, want %d", len(stored), len(s.x.messages))
	}
	var want QueueStats
	used := make(map[*modelMessage]bool)
	for _, got := range stored {
		var found *modelMessage
		for _, m := range s.x.messages {
			if m.id == got.ID && !used[m] && m.attempt == got.Attempt && m.abandoned == got.Abandoned &&
				m.deliveries == got.Deliveries && m.failure == got.Failure && s.x.state(m) == got.State && s.until(m).Equal(got.Until) {
				found = m
			}
		}
		if found == nil {
			return fmt.Sprintf("the queue holds %s %+v, which the model does not", got.ID, got)
		}
		used[found] = true
		want.Bytes += got.Size()
		want.OldestAge = max(want.OldestAge, time.Since(got.PublishedAt))
		*map[State]*int{Ready: &want.Ready, Leased: &want.InFlight, Delayed: &want.Delayed, Waiting: &want.Waiting}[got.State]++
	}
	if got, err := s.b.Stats("q"); err != nil || got != want {
		return fmt.Sprintf("stats are %+v, %v; want %+v", got, err, want)
	}
	return s.compareDead()
}

func (s *schedule) until(m *modelMessage) time.Time {
	if m.lease != nil {
		return m.lease.until
	}
	return m.due
}

func (s *schedule) compareDead() string {
	if s.x.o.Without.DeadLetters {
		return ""
	}
	dead, err := s.b.Messages("q.dlq")
	if err != nil {
		return err.Error()
	}
	count := map[string]int{}
	for _, d := range dead {
		count[d.ID]++
		if d.Failure == nil {
			return "a dead letter does not say why: " + d.ID
		}
	}
	for _, m := range s.x.dead {
		count[m.id]--
	}
	for id, n := range count {
		if n != 0 {
			return fmt.Sprintf("dead letters: %+d of %s", n, id)
		}
	}
	return ""
}
