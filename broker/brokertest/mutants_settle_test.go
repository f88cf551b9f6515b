package brokertest

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/memory"
)

// settleMutants carry settlements out wrongly, or report them wrongly.
func settleMutants() []mutant {
	return []mutant{
		{
			name:  "loses a retry",
			fails: []string{"retry/ARetryWithoutDelayComesBackAtOnce", "batch/ABatchOfMixedSettlementsIsCarriedOutWhole"},
			tamper: settlements(func(s *broker.Settlement) {
				if s.Action == broker.Retry {
					s.Action = broker.Ack
				}
			}),
		},
		{
			name:  "loses a release",
			fails: []string{"release/AReleasedMessageComesBackAtOnce"},
			tamper: settlements(func(s *broker.Settlement) {
				if s.Action == broker.Release {
					s.Action = broker.Ack
				}
			}),
		},
		{
			name: "loses delayed retries of a consumer that closes", // they lived in its memory
			fails: []string{
				"retry/ARetryOutlivesItsConsumer",
			},
			tamper: eachSettlement(func(ctx context.Context, b *bench, s *tampered, x broker.Settlement) error {
				if x.After == 0 {
					return s.one(ctx, x)
				}
				if x.After > s.Capabilities().MaxDelay {
					return broker.ErrUnsupported
				}
				_ = s.Subscription.Extend(ctx, []*broker.Delivery{x.Delivery}, 10*time.Hour)
				after := x.After
				x.After = 0
				timer := time.AfterFunc(after, func() { _ = s.one(context.WithoutCancel(ctx), x) })
				b.t.Cleanup(func() { timer.Stop() })
				shut := s.close
				s.close = func(ctx context.Context) error {
					timer.Stop()
					return shut(ctx)
				}
				return nil
			}),
		},
		{
			name:   "delivers a retry early",
			fails:  []string{"retry/ARetryComesBackAfterItsDelay"},
			tamper: settlements(func(s *broker.Settlement) { s.After = s.After * 9 / 10 }),
		},
		{
			name:  "delivers a release early",
			fails: []string{"release/AReleaseComesBackAfterItsDelay"},
			tamper: settlements(func(s *broker.Settlement) {
				if s.Action == broker.Release {
					s.After = 0
				}
			}),
		},
		{
			name:  "holds up short delays behind long ones", // one queue with a TTL per message
			fails: []string{"retry/AShortDelayIsNotHeldUpByALongOne"},
			tamper: func(b *bench) {
				var mu sync.Mutex
				var due time.Time
				settlements(func(s *broker.Settlement) {
					mu.Lock()
					defer mu.Unlock()
					if s.After > 0 && s.After < time.Hour {
						s.After = max(s.After, time.Until(due))
						due = time.Now().Add(s.After)
					}
				})(b)
			},
		},
		{
			name:   "cuts a delay that is too long",
			fails:  []string{"retry/ADelayBeyondTheLimitIsRefusedAndLosesNothing"},
			tamper: settlements(func(s *broker.Settlement) { s.After = min(s.After, maxDelay) }),
		},
		{
			name:  "miscounts attempts",
			fails: []string{"retry/TheNextAttemptIsTheOneAskedFor"},
			tamper: settlements(func(s *broker.Settlement) {
				if s.Action == broker.Retry {
					s.Attempt = s.Delivery.Attempt + 1
				}
			}),
		},
		{
			name:  "forgets attempts made in the process when it releases",
			fails: []string{"release/AReleaseCarriesAttemptsMadeInTheProcess"},
			tamper: settlements(func(s *broker.Settlement) {
				if s.Action == broker.Release {
					s.Attempt = s.Delivery.Attempt
				}
			}),
		},
		{
			name:  "loses a dead letter",
			fails: []string{"deadletter/ADeadLetterIsInItsQueueOnceAndNowhereElse", "deadletter/ADeadLetterOutlivesItsConsumer"},
			tamper: settlements(func(s *broker.Settlement) {
				if s.Action == broker.DeadLetter {
					s.Action = broker.Ack
				}
			}),
		},
		{
			name:  "dead-letters a copy and delivers the message again",
			fails: []string{"deadletter/ADeadLetterIsInItsQueueOnceAndNowhereElse", "keys/ADeadLetterLetsItsKeyGoOn"},
			tamper: func(b *bench) {
				var copied ids
				eachSettlement(func(ctx context.Context, b *bench, s *tampered, x broker.Settlement) error {
					if x.Action == broker.DeadLetter && copied.add(x.Delivery.ID) {
						_ = b.broker.Publisher().Publish(ctx, b.Name, x.Delivery.Clone())
					}
					return s.one(ctx, x)
				})(b)
			},
		},
		{
			name:  "dead-letters without the record",
			fails: []string{"deadletter/ADeadLetterSaysWhy"},
			tamper: settlements(func(s *broker.Settlement) {
				if s.Action == broker.DeadLetter {
					s.Failure = record("")
					s.Failure.Chain, s.Failure.Stack, s.Failure.Attempts = nil, "", nil
				}
			}),
		},
		{
			name:  "forgets the record when a dead letter is given back",
			fails: []string{"deadletter/ADeadLetterKeepsItsRecordWhenItIsGivenBack"},
			tamper: func(b *bench) {
				var seen ids
				deadLettersRead(func(d *broker.Delivery) {
					if !seen.add(d.ID) {
						d.Failure = nil
					}
				})(b)
			},
		},
		{
			name:  "drops a dead letter that has no place",
			fails: []string{"deadletter/WithoutAPlaceForDeadLettersNothingIsLost"},
			tamper: eachSettlement(func(ctx context.Context, _ *bench, s *tampered, x broker.Settlement) error {
				if x.Action == broker.DeadLetter && !s.Capabilities().DeadLetters {
					x.Action = broker.Ack
				}
				return s.one(ctx, x)
			}),
		},
		{
			name:  "changes the ID on retry",
			fails: []string{"retry/AMessageIsTheSameAfterSeveralRetries"},
			tamper: eachSettlement(func(ctx context.Context, b *bench, s *tampered, x broker.Settlement) error {
				if x.Action == broker.Retry && x.Failure != nil {
					return b.republish(ctx, s, x.Delivery, func(m *broker.Message) { m.ID = "" })
				}
				return s.one(ctx, x)
			}),
		},
		{
			name:  "ages anew on retry",
			fails: []string{"stats/OldestAgeCountsFromTheFirstPublication"},
			tamper: eachSettlement(func(ctx context.Context, b *bench, s *tampered, x broker.Settlement) error {
				if x.Action == broker.Retry && x.After == 0 && x.Attempt == 2 {
					return b.republish(ctx, s, x.Delivery, func(m *broker.Message) { m.PublishedAt = time.Time{} })
				}
				return s.one(ctx, x)
			}),
		},
		{
			name:  "puts a released message behind the others",
			fails: []string{"keys/AReleaseKeepsTheOrderOfItsKey"},
			tamper: eachSettlement(func(ctx context.Context, b *bench, s *tampered, x broker.Settlement) error {
				if x.Action == broker.Release && x.Attempt == 1 && x.After == 0 {
					return b.republish(ctx, s, x.Delivery, func(*broker.Message) {})
				}
				return s.one(ctx, x)
			}),
		},
		{
			name:  "puts a retried message behind the others",
			fails: []string{"keys/ARetryKeepsTheOrderOfItsKey"},
			tamper: eachSettlement(func(ctx context.Context, b *bench, s *tampered, x broker.Settlement) error {
				if x.Action == broker.Retry && x.Delivery.Key != "" {
					return b.republish(ctx, s, x.Delivery, func(*broker.Message) {})
				}
				return s.one(ctx, x)
			}),
		},
		{
			name:  "acknowledges everything before as well",
			fails: []string{"ack/AnAckOutOfOrderRemovesThatMessageAlone"},
			tamper: onSubscription(func(_ *bench, s *tampered) {
				var mu sync.Mutex
				var before []broker.Delivery
				s.changeDeliveries(func(d *broker.Delivery) {
					mu.Lock()
					defer mu.Unlock()
					before = append(before, *d)
				})
				settle := s.settle
				s.settle = func(ctx context.Context, settlements []broker.Settlement) error {
					err := settle(ctx, settlements)
					mu.Lock()
					defer mu.Unlock()
					if x := settlements[0]; x.Action == broker.Ack {
						for i := range before {
							if before[i].ID == x.Delivery.ID {
								break
							}
							_ = s.one(ctx, broker.Settlement{Delivery: &before[i], Action: broker.Ack})
						}
					}
					return err
				}
			}),
		},
		{
			name: "loses acks", // and says that they were carried out
			fails: []string{
				"ack/AnAcknowledgedMessageNeverComesBackAfterItsLease",
			},
			tamper: inject(func() memory.Faults {
				ack := func(op memory.Op) bool { return op.Settlement.Action == broker.Ack }
				return memory.Faults{Settle: memory.When(ack, memory.Always(memory.LoseRequest()))}
			}),
		},
		{
			name:  "delivers again what was acknowledged",
			fails: []string{"ack/AnAcknowledgedMessageNeverComesBack"},
			tamper: func(b *bench) {
				var acks atomic.Int64
				eachSettlement(func(ctx context.Context, b *bench, s *tampered, x broker.Settlement) error {
					if x.Action == broker.Ack && acks.Add(1) == 3 {
						_ = b.broker.Publisher().Publish(ctx, b.Name, x.Delivery.Clone())
					}
					return s.one(ctx, x)
				})(b)
			},
		},
		{
			name:   "reports success of a failed settlement",
			fails:  []string{"ack/SettlingTwiceReportsALostLease", "fault/ASettlementThatFailedIsReportedAndMayBeTriedAgain"},
			tamper: settleErrors(func(error, int) error { return nil }),
		},
		{
			name:  "names the wrong settlement",
			fails: []string{"batch/ABatchNamesExactlyWhatFailed"},
			tamper: settleErrors(func(err error, n int) error {
				if named, ok := errors.AsType[*broker.SettleError](err); ok {
					for i := range named.Failed {
						named.Failed[i].Index = (named.Failed[i].Index + 1) % n
					}
				}
				return err
			}),
		},
		{
			name:  "stops a batch at its first failure",
			fails: []string{"batch/ABatchNamesExactlyWhatFailed"},
			tamper: onSubscription(func(_ *bench, s *tampered) {
				s.settle = func(ctx context.Context, settlements []broker.Settlement) error {
					for i, x := range settlements {
						if err := s.one(ctx, x); err != nil {
							return &broker.SettleError{Failed: []broker.Failed{{Index: i, Err: err}}}
						}
					}
					return nil
				}
			}),
		},
		{
			name:  "names one settlement where all failed",
			fails: []string{"batch/ABatchInWhichAllFailedSaysSo"},
			tamper: settleErrors(func(err error, _ int) error {
				if named, ok := errors.AsType[*broker.SettleError](err); ok {
					named.Failed = named.Failed[:1]
				}
				return err
			}),
		},
		{
			name:  "tries a failed settlement again by itself",
			fails: []string{"fault/ASettlementThatFailedIsReportedAndMayBeTriedAgain"},
			tamper: onSubscription(func(_ *bench, s *tampered) {
				settle := s.settle
				s.settle = func(ctx context.Context, settlements []broker.Settlement) error {
					if err := settle(ctx, settlements); !errors.Is(err, errPassing) {
						return err
					}
					return settle(ctx, settlements)
				}
			}),
		},
		{
			name:  "takes a passing fault for a lost lease",
			fails: []string{"fault/ASettlementThatFailedIsReportedAndMayBeTriedAgain"},
			tamper: settleErrors(func(err error, _ int) error {
				if errors.Is(err, errPassing) {
					return broker.ErrLeaseLost
				}
				return err
			}),
		},
	}
}
