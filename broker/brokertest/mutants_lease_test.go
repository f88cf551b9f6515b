package brokertest

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/memory"
)

// newest knows the latest delivery of each message: what an adapter mistakes an
// older one for that remembers messages and not deliveries.
type newest struct {
	mu sync.Mutex
	by map[string]held
}

type held struct {
	s *tampered
	d broker.Delivery
}

func (n *newest) note(s *tampered, d *broker.Delivery) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.by == nil {
		n.by = make(map[string]held)
	}
	n.by[d.ID] = held{s, *d}
}

func (n *newest) of(id string) (held, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	h, ok := n.by[id]
	return h, ok
}

// settlesNewest carries a settlement whose lease is lost out on the newest
// delivery of the message, and returns what f makes of the errors.
func settlesNewest(f func(lost, newer error) error) func(b *bench) {
	return func(b *bench) {
		var n newest
		onSubscription(func(_ *bench, s *tampered) { s.changeDeliveries(func(d *broker.Delivery) { n.note(s, d) }) })(b)
		eachSettlement(func(ctx context.Context, _ *bench, s *tampered, x broker.Settlement) error {
			lost := s.one(ctx, x)
			if !errors.Is(lost, broker.ErrLeaseLost) {
				return lost
			}
			h, ok := n.of(x.Delivery.ID)
			if !ok {
				return lost
			}
			x.Delivery = &h.d
			return f(lost, h.s.one(ctx, x))
		})(b)
	}
}

// leaseMutants break leases: who holds a message, and for how long.
func leaseMutants() []mutant {
	sessions := memoryOptions{subscribe: memory.SubscribeOptions{SessionLeases: true}}
	return []mutant{
		{
			name:  "delivers a leased message to somebody else", // it forgot the lease
			fails: []string{"lease/ALeasedMessageIsDeliveredToNobodyElse"},
			tamper: inject(func() memory.Faults {
				return memory.Faults{Deliver: memory.Next(1, memory.Duplicate())}
			}),
		},
		{
			name:  "never ends a lease",
			fails: []string{"lease/ALeaseThatRunsOutIsDeliveredToAnotherConsumer"},
			tamper: onSubscription(func(_ *bench, s *tampered) {
				s.changeDeliveries(func(d *broker.Delivery) {
					_ = s.Subscription.Extend(context.Background(), []*broker.Delivery{d}, 1000*time.Hour)
				})
			}),
		},
		{
			name:  "ends leases early",
			fails: []string{"lease/LeaseUntilIsWhenTheLeaseEnds", "lease/ALeaseThatRunsOutIsDeliveredToAnotherConsumer"},
			with:  memoryOptions{queue: func(q *memory.Queue) { q.Lease /= 2 }},
			tamper: together(
				claims(func(c *broker.Capabilities) { c.Lease *= 2 }),
				deliveries(func(d *broker.Delivery) { d.LeaseUntil = d.LeaseUntil.Add(time.Until(d.LeaseUntil)) }),
			),
		},
		{
			name:   "states no end of leases that end",
			fails:  []string{"receive/ADeliveryStatesWhereItComesFrom"},
			tamper: deliveries(func(d *broker.Delivery) { d.LeaseUntil = time.Time{} }),
		},
		{
			name:   "acknowledges a newer delivery late",
			fails:  []string{"lease/ALateSettlementTouchesNothingNewer", "ack/SettlingTwiceTouchesNothingNewer"},
			tamper: settlesNewest(func(_, newer error) error { return newer }),
		},
		{
			name:  "says that a late ack was in time",
			fails: []string{"lease/AnAckAfterTheLeaseEitherHoldsOrSaysLost"},
			tamper: eachSettlement(func(ctx context.Context, _ *bench, s *tampered, x broker.Settlement) error {
				err := s.one(ctx, x)
				if x.Action == broker.Ack && errors.Is(err, broker.ErrLeaseLost) {
					return nil
				}
				return err
			}),
		},
		{
			name:   "settles a newer delivery late and says that it did not",
			fails:  []string{"lease/ALateSettlementTouchesNothingNewer", "ack/SettlingTwiceTouchesNothingNewer"},
			tamper: settlesNewest(func(lost, _ error) error { return lost }),
		},
		{
			name:   "settles a delivery of a newer session late",
			fails:  []string{"disconnect/ADeliveryOfAnEndedSessionSettlesNothingNewer"},
			with:   sessions,
			tamper: settlesNewest(func(lost, _ error) error { return lost }),
		},
		{
			name:  "does not end sessions",
			fails: []string{"disconnect/ASessionThatEndedSaysSo"},
			with:  sessions,
			tamper: deliveries(func(d *broker.Delivery) {
				d.Session = broker.NewSession("never ends")
			}),
		},
		{
			name:  "extends nothing",
			fails: []string{"extend/AnExtensionHoldsTheLease", "extend/ExtensionsInTimeHoldTheLeaseForAsLongAsTheyGoOn"},
			tamper: onSubscription(func(_ *bench, s *tampered) {
				s.extend = func(context.Context, []*broker.Delivery, time.Duration) error { return nil }
			}),
		},
		{
			name:  "extends the first of a batch only",
			fails: []string{"extend/ABatchOfExtensionsHoldsAll"},
			tamper: onSubscription(func(_ *bench, s *tampered) {
				s.extend = func(ctx context.Context, ds []*broker.Delivery, by time.Duration) error {
					return s.Subscription.Extend(ctx, ds[:1], by)
				}
			}),
		},
		{
			name:  "says that a lost lease was extended",
			fails: []string{"extend/AnExtensionOfALostLeaseSaysSoAndTouchesNothingNewer", "extend/ABatchOfExtensionsNamesExactlyThoseLost"},
			tamper: onSubscription(func(_ *bench, s *tampered) {
				s.extend = func(ctx context.Context, ds []*broker.Delivery, by time.Duration) error {
					if err := s.Subscription.Extend(ctx, ds, by); !errors.Is(err, broker.ErrLeaseLost) {
						return err
					}
					return nil
				}
			}),
		},
		{
			name:  "extends a newer delivery for an older one",
			fails: []string{"extend/AnExtensionOfALostLeaseSaysSoAndTouchesNothingNewer"},
			tamper: func(b *bench) {
				var n newest
				onSubscription(func(_ *bench, s *tampered) {
					s.changeDeliveries(func(d *broker.Delivery) { n.note(s, d) })
					s.extend = func(ctx context.Context, ds []*broker.Delivery, by time.Duration) error {
						err := s.Subscription.Extend(ctx, ds, by)
						if h, ok := n.of(ds[0].ID); ok && errors.Is(err, broker.ErrLeaseLost) {
							_ = h.s.Subscription.Extend(ctx, []*broker.Delivery{&h.d}, by)
						}
						return err
					}
				})(b)
			},
		},
		{
			name:  "names settled deliveries as lost when it extends",
			fails: []string{"extend/AnExtensionOfWhatWasSettledIsNoError"},
			tamper: func(b *bench) {
				var settled ids
				settlements(func(s *broker.Settlement) {
					if s.Action == broker.Ack {
						settled.add(s.Delivery.ID)
					}
				})(b)
				onSubscription(func(_ *bench, s *tampered) {
					s.extend = func(ctx context.Context, ds []*broker.Delivery, by time.Duration) error {
						for i, d := range ds {
							settled.mu.Lock()
							was := settled.seen[d.ID]
							settled.mu.Unlock()
							if was {
								return &broker.SettleError{Failed: []broker.Failed{{Index: i, Err: broker.ErrLeaseLost}}}
							}
						}
						return s.Subscription.Extend(ctx, ds, by)
					}
				})(b)
			},
		},
		{
			name:  "takes a passing fault of an extension for a lost lease",
			fails: []string{"fault/AnExtensionThatFailedIsReportedAndMayBeTriedAgain"},
			tamper: onSubscription(func(_ *bench, s *tampered) {
				s.extend = func(ctx context.Context, ds []*broker.Delivery, by time.Duration) error {
					err := s.Subscription.Extend(ctx, ds, by)
					if errors.Is(err, errPassing) {
						return broker.ErrLeaseLost
					}
					return err
				}
			}),
		},
		{
			name:  "extends beyond the limit that it states",
			fails: []string{"extend/MaxLeaseEndsWhatIsExtendedForEver"},
			with:  memoryOptions{queue: func(q *memory.Queue) { q.MaxLease = 0 }},
			tamper: onSubscription(func(b *bench, s *tampered) {
				capabilities := s.capabilities
				s.capabilities = func() broker.Capabilities {
					c := capabilities()
					c.MaxLease = b.spec.MaxLease
					return c
				}
			}),
		},
		{
			name:  "swallows extensions that it does not support",
			fails: []string{"extend/ExtendIsUnsupportedWhereCapabilitiesSaySo"},
			with:  memoryOptions{without: memory.Without{Extend: true}},
			tamper: onSubscription(func(_ *bench, s *tampered) {
				s.extend = func(context.Context, []*broker.Delivery, time.Duration) error { return nil }
			}),
		},
		{
			name:  "counts a lost lease as an attempt",
			fails: []string{"abandoned/AMessageWhoseLeaseRanOutCountsAsAbandoned", "abandoned/AMessageWhoseConsumerWasKilledCountsAsAbandoned"},
			tamper: deliveries(func(d *broker.Delivery) {
				d.Attempt += d.Abandoned
			}),
		},
		{
			name:  "never forgets abandoned deliveries",
			fails: []string{"abandoned/AbandonedStartsAnewAfterASettlement"},
			tamper: func(b *bench) {
				var mu sync.Mutex
				most := make(map[string]int)
				deliveries(func(d *broker.Delivery) {
					mu.Lock()
					defer mu.Unlock()
					most[d.ID] = max(most[d.ID], d.Abandoned)
					d.Abandoned = most[d.ID]
				})(b)
			},
		},
		{
			name:  "takes what a dead consumer held for settled",
			fails: []string{"abandoned/AKilledConsumerLosesNothing"},
			tamper: func(b *bench) {
				kill := b.Kill
				ackOpen := openDeliveries(b)
				b.Kill = func(t T, s broker.Subscription) {
					ackOpen(t.Context(), nil)
					kill(t, s)
				}
			},
		},
	}
}

// openDeliveries returns a function that acknowledges what was delivered, by the
// given consumer or by any when it is nil, and not yet settled.
func openDeliveries(b *bench) (drop func(ctx context.Context, of *tampered)) {
	var mu sync.Mutex
	open := make(map[string]held)
	onSubscription(func(_ *bench, s *tampered) {
		s.changeDeliveries(func(d *broker.Delivery) {
			mu.Lock()
			defer mu.Unlock()
			open[d.ID] = held{s, *d}
		})
	})(b)
	settlements(func(s *broker.Settlement) {
		mu.Lock()
		defer mu.Unlock()
		delete(open, s.Delivery.ID)
	})(b)
	return func(ctx context.Context, of *tampered) {
		mu.Lock()
		defer mu.Unlock()
		for _, h := range open {
			if of == nil || of == h.s {
				_ = h.s.one(ctx, broker.Settlement{Delivery: &h.d, Action: broker.Ack})
			}
		}
	}
}
