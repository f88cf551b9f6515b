package memory

import (
	"context"

	"github.com/anyqueue/anyqueue/broker"
)

// exchange is a call of Settle or Extend: the same thing done to several leases.
//
// It holds nothing that an error could keep: the functions then live on the
// stack of the call.
type exchange struct {
	size  int
	hooks func(*Faults) (call, element Hook)
	op    func(i int) Op
	do    func(i int, now instant) error
}

// carryOut makes the call as far as faults let it. doing is for errors: "settle
// on".
func (s *Subscription) carryOut(ctx context.Context, doing string, x exchange) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	var call, element Hook
	if f := s.q.faults.Load(); f != nil {
		call, element = x.hooks(f)
	}
	fault := call.ask(ctx, Op{Batch: x.size})
	switch {
	case fault.skip && fault.err != nil:
		return s.wrap(doing, fault.err)
	case fault.skip:
		return nil
	}
	faults := element.askAll(ctx, x.size, x.op)
	failed, err := s.locked(x, faults)
	switch {
	case err != nil:
		return s.wrap(doing, err)
	case fault.err != nil:
		return s.wrap(doing, fault.err)
	case failed != nil:
		return &broker.SettleError{Failed: failed}
	}
	return nil
}

// locked does what is left after all hooks were asked.
func (s *Subscription) locked(x exchange, faults []Fault) ([]broker.Failed, error) {
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	if err := s.usable(); err != nil {
		return nil, err
	}
	_, now := s.b.now()
	s.q.advance(now)
	var failed []broker.Failed
	for i := range x.size {
		var f Fault
		if faults != nil {
			f = faults[i]
		}
		err := f.err
		if !f.skip {
			if undone := x.do(i, now); undone != nil {
				err = undone
			}
		}
		if err != nil {
			failed = append(failed, broker.Failed{Index: i, Err: err})
		}
	}
	s.q.wake()
	s.q.arm(now)
	return failed, nil
}
