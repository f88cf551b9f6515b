package main

import (
	"context"
	"errors"
	"sync"
	"time"
)

// payments stands for the payment service, which is somebody else's: it is
// called over a network, it fails, it is slow, and it may have paid although the
// caller never heard of it. As real ones do it takes an idempotency key, and pays
// once for each key.
type payments struct {
	trouble trouble

	mu       sync.Mutex
	receipts map[string]int // amount by idempotency key
	paid     map[string]int // amount by order: what the bank statement says
	payouts  int
	began    time.Time // of the trouble; zero before it
	slowOnes int       // calls while the service was slow
}

// trouble is what goes wrong with the service: after so many payouts it is down
// for a while, then slow for a while, then well again.
type trouble struct {
	after      int
	down, slow time.Duration
}

// How long a call takes. One in hangEvery of the slow calls hangs for longer than
// callTimeout although the money has been paid.
const (
	usualCall = 2 * time.Millisecond
	slowCall  = 40 * time.Millisecond
	hang      = 600 * time.Millisecond
	hangEvery = 40
)

var errDown = errors.New("payment service: 503 service unavailable")

func newPayments(t trouble) *payments {
	return &payments{trouble: t, receipts: map[string]int{}, paid: map[string]int{}}
}

// refund pays the amount for an order, unless this key was paid before. When it
// returns an error nobody knows whether the money was paid; call it again with
// the same key.
func (p *payments) refund(ctx context.Context, key, order string, amount int) error {
	took, err := p.call(key, order, amount)
	timer := time.NewTimer(took)
	defer timer.Stop()
	select {
	case <-timer.C:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// call decides what becomes of a call and how long it takes.
func (p *payments) call(key, order string, amount int) (time.Duration, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.began.IsZero() && p.payouts >= p.trouble.after {
		p.began = time.Now()
	}
	took := usualCall
	if !p.began.IsZero() {
		switch since := time.Since(p.began); {
		case since < p.trouble.down:
			return usualCall, errDown
		case since < p.trouble.down+p.trouble.slow:
			took = slowCall
			if p.slowOnes++; p.slowOnes%hangEvery == 0 {
				took = hang
			}
		}
	}
	if _, done := p.receipts[key]; done {
		return usualCall, nil
	}
	p.receipts[key] = amount
	p.paid[order] += amount
	p.payouts++
	return took, nil
}

// statement calls f for every order that was paid something.
func (p *payments) statement(f func(order string, amount int)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for order, amount := range p.paid {
		f(order, amount)
	}
}

// total returns how many payouts there were.
func (p *payments) total() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.payouts
}
