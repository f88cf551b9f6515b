package brokertest

import (
	"time"

	"github.com/anyqueue/anyqueue/broker"
)

// poll asks all consumers at once and returns what they got: when the first has
// something, or after d with nothing. A passing error ends it early.
func (e *env) poll(d time.Duration, credit broker.Credit, consumers ...*consumer) []*got {
	e.Helper()
	calls := make([]*pending, len(consumers))
	first := make(chan struct{}, len(consumers))
	for i, c := range consumers {
		p := c.start(d, credit)
		calls[i] = p
		go func() {
			<-p.done
			first <- struct{}{}
		}()
	}
	timer := time.NewTimer(d + e.h.Patience)
	defer timer.Stop()
	select {
	case <-first:
	case <-timer.C:
		e.Fatalf("Receive did not return within %v after its context had ended", e.h.Patience)
	}
	// The rest may be given something in the same moment: it counts too.
	for _, p := range calls {
		p.cancel()
	}
	var gots []*got
	for _, p := range calls {
		g, err := p.result()
		gots = append(gots, g...)
		switch {
		case err == nil || isContextError(err):
		case isFinal(err):
			e.Fatalf("Receive: %v", err)
		default:
			e.Logf("Receive: %v; calling again", err)
		}
	}
	return gots
}

// gather returns n deliveries from the consumers together, and fails when they
// do not come or when there are more.
func (e *env) gather(n int, consumers ...*consumer) []*got {
	e.Helper()
	var gots []*got
	for deadline := time.Now().Add(e.h.Patience); len(gots) < n; {
		left := time.Until(deadline)
		if left <= 0 {
			e.Fatalf("got %d of %d messages within %v%s", len(gots), n, e.h.Patience, bodies(gots))
		}
		more := e.poll(left, broker.Credit{Messages: n - len(gots), Bytes: plenty}, consumers...)
		if len(more) == 0 {
			e.sleep(e.h.Patience / 200)
			continue
		}
		gots = append(gots, more...)
		deadline = time.Now().Add(e.h.Patience)
	}
	if len(gots) > n {
		e.Fatalf("got %d messages where %d were to be had%s", len(gots), n, bodies(gots))
	}
	return gots
}

// watch fails if any of the consumers is given anything for d.
func (e *env) watch(d time.Duration, consumers ...*consumer) {
	e.Helper()
	if len(consumers) == 0 {
		e.sleep(d)
		return
	}
	for deadline := time.Now().Add(d); ; {
		left := time.Until(deadline)
		if left <= 0 {
			return
		}
		if gots := e.poll(left, broker.Credit{Messages: 10, Bytes: plenty}, consumers...); len(gots) > 0 {
			e.Fatalf("delivered what must not be delivered now (%v before the end of a watch of %v)%s",
				time.Until(deadline), d, bodies(gots))
		}
		if left := time.Until(deadline); left > 0 {
			e.sleep(min(left, e.h.Patience/200)) // only after a passing error
		}
	}
}
