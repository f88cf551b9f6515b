package brokertest

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/memory"
)

// received replaces Receive.
func received(f func(b *bench, s *tampered, receive receiveFunc) receiveFunc) func(*bench) {
	return onSubscription(func(b *bench, s *tampered) { s.receive = f(b, s, s.receive) })
}

type receiveFunc = func(ctx context.Context, credit broker.Credit) ([]broker.Delivery, error)

// prefetches fetches up to n messages at once, hands out what there is credit
// for, and keeps the rest for the next Receive. release says whether Close gives
// the rest back.
func prefetches(n int, release bool) func(*bench) {
	return onSubscription(func(_ *bench, s *tampered) {
		var mu sync.Mutex
		var rest []broker.Delivery
		s.receive = func(ctx context.Context, credit broker.Credit) ([]broker.Delivery, error) {
			mu.Lock()
			have := rest
			rest = nil
			mu.Unlock()
			if len(have) == 0 {
				var err error
				if have, err = s.Subscription.Receive(ctx, broker.Credit{Messages: n, Bytes: plenty}); err != nil {
					return nil, err
				}
			}
			most := min(len(have), credit.Messages)
			for most > 1 && sizes(have[:most]) > credit.Bytes {
				most--
			}
			mu.Lock()
			rest = have[most:]
			mu.Unlock()
			return have[:most:most], nil
		}
		shut := s.close
		s.close = func(ctx context.Context) error {
			for i := range rest {
				if release {
					_ = s.one(ctx, broker.Settlement{Delivery: &rest[i], Action: broker.Release, Attempt: rest[i].Attempt})
				}
			}
			return shut(ctx)
		}
	})
}

func sizes(ds []broker.Delivery) int {
	n := 0
	for i := range ds {
		n += ds[i].Size()
	}
	return n
}

// deliveryMutants break Receive, the order of keys and the figures.
func deliveryMutants() []mutant {
	return []mutant{
		{
			name:   "drops what it had fetched when it closes",
			fails:  []string{"close/CloseGivesBackWhatWasNeverReturned"},
			tamper: prefetches(5, false),
		},
		{
			name:   "keeps waiting messages from idle consumers",
			fails:  []string{"concurrency/ConsumersShareTheWork"},
			tamper: prefetches(5, true),
		},
		{
			name:  "drops what is not settled when it closes",
			fails: []string{"close/ALeasedMessageComesBackAfterItsConsumerClosed"},
			tamper: func(b *bench) {
				ackOpen := openDeliveries(b)
				onSubscription(func(_ *bench, s *tampered) {
					shut := s.close
					s.close = func(ctx context.Context) error {
						ackOpen(ctx, s)
						return shut(ctx)
					}
				})(b)
			},
		},
		{
			name:  "loses one retry of some dozens under load",
			fails: []string{"concurrency/EveryMessageEndsExactlyOnce"},
			tamper: func(b *bench) {
				var n atomic.Int64
				eachSettlement(func(ctx context.Context, _ *bench, s *tampered, x broker.Settlement) error {
					if n.Add(1)%37 == 0 && x.Action != broker.DeadLetter {
						x.Action = broker.Ack
					}
					return s.one(ctx, x)
				})(b)
			},
		},
		{
			name:  "exceeds the credit of messages",
			fails: []string{"credit/ReceiveReturnsAtMostCreditMessages"},
			tamper: received(func(_ *bench, _ *tampered, receive receiveFunc) receiveFunc {
				return func(ctx context.Context, credit broker.Credit) ([]broker.Delivery, error) {
					if credit.Messages == 3 {
						credit.Messages++
					}
					return receive(ctx, credit)
				}
			}),
		},
		{
			name:  "ignores the credit of bytes",
			fails: []string{"credit/ReceiveReturnsAtMostCreditBytes"},
			tamper: received(func(_ *bench, _ *tampered, receive receiveFunc) receiveFunc {
				return func(ctx context.Context, credit broker.Credit) ([]broker.Delivery, error) {
					credit.Bytes = plenty
					return receive(ctx, credit)
				}
			}),
		},
		{
			name:  "never delivers a message that is larger than the credit",
			fails: []string{"credit/TheFirstMessageMayExceedCreditBytes"},
			tamper: received(func(_ *bench, s *tampered, receive receiveFunc) receiveFunc {
				return func(ctx context.Context, credit broker.Credit) ([]broker.Delivery, error) {
					ds, err := receive(ctx, credit)
					if len(ds) == 1 && ds[0].Size() > credit.Bytes {
						_ = s.one(ctx, broker.Settlement{Delivery: &ds[0], Action: broker.Release, Attempt: ds[0].Attempt})
						<-ctx.Done()
						return nil, ctx.Err()
					}
					return ds, err
				}
			}),
		},
		{
			name:  "waits for a full batch",
			fails: []string{"receive/ReceiveBlocksUntilAMessageArrives"},
			tamper: received(func(_ *bench, _ *tampered, receive receiveFunc) receiveFunc {
				return func(ctx context.Context, credit broker.Credit) ([]broker.Delivery, error) {
					ds, err := receive(ctx, credit)
					if err == nil && len(ds) < credit.Messages && credit.Messages == 10 && credit.Bytes == plenty {
						<-ctx.Done()
					}
					return ds, err
				}
			}),
		},
		{
			name:  "loses what arrives after a cancelled Receive",
			fails: []string{"receive/WhatArrivesAfterACancelledReceiveIsNotHidden"},
			tamper: received(func(b *bench, _ *tampered, receive receiveFunc) receiveFunc {
				return func(ctx context.Context, credit broker.Credit) ([]broker.Delivery, error) {
					type result struct {
						ds  []broker.Delivery
						err error
					}
					done := make(chan result, 1)
					go func() { // goes on with the exchange when its caller has gone
						on, cancel := context.WithTimeout(b.t.Context(), time.Minute)
						defer cancel()
						ds, err := receive(on, credit)
						done <- result{ds, err}
					}()
					select {
					case r := <-done:
						return r.ds, r.err
					case <-ctx.Done():
						return nil, ctx.Err()
					}
				}
			}),
		},
		{
			name:  "loses what arrives while a Receive is cancelled",
			fails: []string{"receive/WhatArrivesDuringACancelIsNotHidden"},
			tamper: received(func(_ *bench, _ *tampered, receive receiveFunc) receiveFunc {
				return func(ctx context.Context, credit broker.Credit) ([]broker.Delivery, error) {
					ds, err := receive(ctx, credit)
					if ctx.Err() != nil {
						return nil, ctx.Err()
					}
					return ds, err
				}
			}),
		},
		{
			name:  "does not notice that a Receive was cancelled",
			fails: []string{"receive/ReceiveReturnsSoonWhenItsContextIsCancelled", "receive/ReceiveReturnsSoonWhenItsContextTimesOut"},
			tamper: received(func(_ *bench, _ *tampered, receive receiveFunc) receiveFunc {
				return func(ctx context.Context, credit broker.Credit) ([]broker.Delivery, error) {
					deaf, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute) // a long poll
					defer cancel()
					return receive(deaf, credit)
				}
			}),
		},
		{
			name:  "returns an error together with deliveries",
			fails: []string{"receive/WhatArrivesDuringACancelIsNotHidden"},
			tamper: received(func(_ *bench, _ *tampered, receive receiveFunc) receiveFunc {
				return func(ctx context.Context, credit broker.Credit) ([]broker.Delivery, error) {
					ds, err := receive(ctx, credit)
					if err == nil {
						err = ctx.Err()
					}
					return ds, err
				}
			}),
		},
		{
			name:  "settles only between two Receives",
			fails: []string{"receive/OtherCallsWorkWhileReceiveBlocks"},
			tamper: onSubscription(func(_ *bench, s *tampered) {
				lock := make(chan struct{}, 1)
				receive, settle := s.receive, s.settle
				s.receive = func(ctx context.Context, credit broker.Credit) ([]broker.Delivery, error) {
					lock <- struct{}{}
					defer func() { <-lock }()
					return receive(ctx, credit)
				}
				s.settle = func(ctx context.Context, settlements []broker.Settlement) error {
					select {
					case lock <- struct{}{}:
						defer func() { <-lock }()
						return settle(ctx, settlements)
					case <-ctx.Done():
						return ctx.Err()
					}
				}
			}),
		},
		{
			name:  "delivers a key out of order",
			fails: []string{"keys/AKeyIsDeliveredInOrderToOneConsumerAtATime"},
			with:  memoryOptions{without: memory.Without{KeyOrder: true}},
			tamper: claims(func(c *broker.Capabilities) {
				c.KeyOrder, c.DelayKeepsOrder = true, true
			}),
		},
		{
			name: "lets the next of a key pass one whose lease ran out",
			fails: []string{
				"keys/ALostLeaseKeepsTheOrderOfItsKey",
			},
			tamper: received(func(b *bench, s *tampered, receive receiveFunc) receiveFunc {
				return func(ctx context.Context, credit broker.Credit) ([]broker.Delivery, error) {
					ds, err := receive(ctx, credit)
					if len(ds) == 1 && ds[0].Abandoned == 1 && ds[0].Key != "" {
						if b.republish(ctx, s, &ds[0], func(*broker.Message) {}) == nil {
							return receive(ctx, credit)
						}
					}
					return ds, err
				}
			}),
		},
		{
			name:   "holds back all keys for one",
			fails:  []string{"keys/AHeldMessageHoldsBackItsOwnKeyAlone", "keys/ManyKeysAreDeliveredAtOnce"},
			tamper: oneLane(func(key string) bool { return key != "" }),
		},
		{
			name:   "holds back messages without a key for each other",
			fails:  []string{"keys/MessagesWithoutAKeyHoldBackNobody"},
			tamper: oneLane(func(key string) bool { return key == "" }),
		},
		{
			name:  "says 0 of what it does not know",
			fails: []string{"stats/WhatStatsKnowIsTrue"},
			tamper: onSubscription(func(_ *bench, s *tampered) {
				s.stats = func(context.Context) (broker.Stats, error) {
					return broker.Stats{Delayed: broker.Known[int64](0)}, nil
				}
			}),
		},
		{
			name:  "says that a queue of old messages is young",
			fails: []string{"stats/OldestAgeCountsFromTheFirstPublication"},
			tamper: onSubscription(func(_ *bench, s *tampered) {
				s.stats = func(context.Context) (broker.Stats, error) {
					return broker.Stats{OldestAge: broker.Known[time.Duration](0)}, nil
				}
			}),
		},
		{
			name:  "remembers the age of messages that are done",
			fails: []string{"stats/AnEmptyQueueHasNoAge"},
			tamper: onSubscription(func(_ *bench, s *tampered) {
				stats := s.stats
				var oldest atomic.Int64
				s.stats = func(ctx context.Context) (broker.Stats, error) {
					st, err := stats(ctx)
					if age, ok := st.OldestAge.Get(); ok {
						oldest.Store(max(oldest.Load(), int64(age)))
					}
					st.OldestAge = broker.Known(max(time.Duration(oldest.Load()), time.Second))
					return st, err
				}
			}),
		},
	}
}

// oneLane puts all messages whose key matches into one order.
func oneLane(match func(key string) bool) func(*bench) {
	const lane = "\x00lane\x00"
	return together(
		copies(func(m *broker.Message) {
			if match(m.Key) {
				m.Type = m.Key + lane + m.Type
				m.Key = "one for all"
			}
		}),
		deliveries(func(d *broker.Delivery) {
			if key, typ, ok := strings.Cut(d.Type, lane); ok {
				d.Key, d.Type = key, typ
			}
		}),
		func(b *bench) { // dead letters are as they were
			b.deadLetter = func(s *tampered) {
				s.changeDeliveries(func(d *broker.Delivery) {
					if key, typ, ok := strings.Cut(d.Type, lane); ok {
						d.Key, d.Type = key, typ
					}
				})
			}
		},
	)
}
