package brokertest

import (
	"context"
	"errors"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/memory"
)

// callMutants break what surrounds the messages: closing, connections, passing
// faults.
func callMutants() []mutant {
	return []mutant{
		{
			name:  "says that a closed subscription was disconnected",
			fails: []string{"close/ReceiveAfterCloseSaysSo"},
			tamper: received(func(_ *bench, _ *tampered, receive receiveFunc) receiveFunc {
				return func(ctx context.Context, credit broker.Credit) ([]broker.Delivery, error) {
					ds, err := receive(ctx, credit)
					if errors.Is(err, broker.ErrClosed) {
						err = broker.ErrDisconnected
					}
					return ds, err
				}
			}),
		},
		{
			name:  "waits for the broker when it is told not to",
			fails: []string{"close/CloseStopsWaitingWhenItsContextHasEnded"},
			tamper: onSubscription(func(b *bench, s *tampered) {
				shut := s.close
				s.close = func(ctx context.Context) error {
					if ctx.Err() != nil {
						<-b.t.Context().Done()
					}
					return shut(ctx)
				}
			}),
		},
		{
			name:  "closes all consumers with one",
			fails: []string{"close/ClosingOneConsumerLeavesOthersAlone"},
			tamper: func(b *bench) {
				var all []*tampered
				onSubscription(func(_ *bench, s *tampered) {
					shut := s.close
					all = append(all, s)
					s.close = func(ctx context.Context) error {
						for _, other := range all {
							_ = other.Subscription.Close(ctx)
						}
						return shut(ctx)
					}
				})(b)
			},
		},
		{
			name:  "leaves a goroutine behind",
			fails: []string{"close/CloseLeavesNoGoroutineBehind"},
			tamper: onSubscription(func(b *bench, s *tampered) {
				shut := s.close
				s.close = func(ctx context.Context) error {
					go func() { <-b.t.Context().Done() }()
					return shut(ctx)
				}
			}),
		},
		{
			name:  "changes its mind about what it can do",
			fails: []string{"capabilities/CapabilitiesNeverChange"},
			tamper: onSubscription(func(_ *bench, s *tampered) {
				receive, capabilities := s.receive, s.capabilities
				var known ids
				s.receive = func(ctx context.Context, credit broker.Credit) ([]broker.Delivery, error) {
					known.add("")
					return receive(ctx, credit)
				}
				s.capabilities = func() broker.Capabilities {
					c := capabilities()
					known.mu.Lock()
					defer known.mu.Unlock()
					if !known.seen[""] { // it has not asked the broker yet
						c.MaxMessageBytes = 0
					}
					return c
				}
			}),
		},
		{
			name:  "gives up for good when its connection is cut",
			fails: []string{"disconnect/AConsumerRecoversFromALostConnection"},
			tamper: received(func(_ *bench, _ *tampered, receive receiveFunc) receiveFunc {
				return func(ctx context.Context, credit broker.Credit) ([]broker.Delivery, error) {
					ds, err := receive(ctx, credit)
					if errors.Is(err, broker.ErrDisconnected) {
						err = broker.ErrClosed
					}
					return ds, err
				}
			}),
		},
		{
			name:  "does not connect again to publish",
			fails: []string{"disconnect/APublisherRecoversFromALostConnection"},
			tamper: func(b *bench) {
				cut := afterDrop(b)
				published(func(_ *bench, publish publishFunc) publishFunc {
					return func(ctx context.Context, to string, messages ...*broker.Message) error {
						if cut() {
							return broker.ErrDisconnected
						}
						return publish(ctx, to, messages...)
					}
				})(b)
			},
		},
		{
			name:  "loses what was in flight when its connection is cut",
			fails: []string{"disconnect/ALostConnectionLosesNoMessage"},
			with:  memoryOptions{subscribe: memory.SubscribeOptions{SessionLeases: true}},
			tamper: func(b *bench) {
				ackOpen := openDeliveries(b)
				drop := b.Drop
				b.Drop = func(t T) {
					ackOpen(t.Context(), nil)
					drop(t)
				}
			},
		},
		{
			name:  "takes a passing fault of Receive for the end",
			fails: []string{"fault/AReceiveThatFailedLosesNothing"},
			tamper: received(func(_ *bench, _ *tampered, receive receiveFunc) receiveFunc {
				return func(ctx context.Context, credit broker.Credit) ([]broker.Delivery, error) {
					ds, err := receive(ctx, credit)
					if errors.Is(err, errPassing) {
						err = broker.ErrAccessDenied
					}
					return ds, err
				}
			}),
		},
	}
}

// afterDrop returns a function that says whether the connections were cut.
func afterDrop(b *bench) func() bool {
	var dropped ids
	drop := b.Drop
	b.Drop = func(t T) {
		dropped.add("")
		drop(t)
	}
	return func() bool {
		dropped.mu.Lock()
		defer dropped.mu.Unlock()
		return dropped.seen[""]
	}
}
