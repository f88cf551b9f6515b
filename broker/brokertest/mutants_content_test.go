package brokertest

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/anyqueue/anyqueue/broker"
)

// contentMutants damage messages, or lose them on their way in.
func contentMutants() []mutant {
	return []mutant{
		{
			name:   "takes bodies for UTF-8",
			fails:  []string{"content/AnyBodySurvives", "content/EveryFieldSurvives", "release/AReleasedMessageIsTheSame"},
			tamper: copies(func(m *broker.Message) { m.Body = bytes.ToValidUTF8(m.Body, []byte("?")) }),
		},
		{
			name:  "decodes bodies that look like base64",
			fails: []string{"content/AnyBodySurvives"},
			tamper: deliveries(func(d *broker.Delivery) {
				if b, err := base64.StdEncoding.DecodeString(string(d.Body)); err == nil && len(d.Body) > 0 {
					d.Body = b
				}
			}),
		},
		{
			name:  "cuts large bodies",
			fails: []string{"content/ALargeBodySurvives"},
			tamper: copies(func(m *broker.Message) {
				m.Body = m.Body[:min(len(m.Body), 64<<10)]
			}),
		},
		{
			name:  "spells header names its own way",
			fails: []string{"content/HeadersSurviveInOrderAndByteForByte"},
			tamper: copies(func(m *broker.Message) {
				for i := range m.Headers {
					m.Headers[i].Name = http.CanonicalHeaderKey(m.Headers[i].Name)
				}
			}),
		},
		{
			name:  "sorts headers",
			fails: []string{"content/HeadersSurviveInOrderAndByteForByte"},
			tamper: copies(func(m *broker.Message) {
				slices.SortFunc(m.Headers, func(a, b broker.Header) int { return strings.Compare(a.Name, b.Name) })
			}),
		},
		{
			name:  "keeps the first of repeated headers",
			fails: []string{"content/ARepeatedHeaderNameNeverChangesWhatGetReturns"},
			tamper: copies(func(m *broker.Message) {
				var kept broker.Headers
				for _, h := range m.Headers {
					if _, ok := kept.Lookup(h.Name); !ok {
						kept = append(kept, h)
					}
				}
				m.Headers = kept
			}),
		},
		{
			name:   "gives messages an ID of its own",
			fails:  []string{"content/AnIDAndATimeAreAssignedWhenThereAreNone", "content/EveryFieldSurvives"},
			tamper: copies(func(m *broker.Message) { m.ID += "-1" }),
		},
		{
			name:   "dates messages by their arrival",
			fails:  []string{"content/EveryFieldSurvives"},
			tamper: copies(func(m *broker.Message) { m.PublishedAt = time.Now() }),
		},
		{
			name:   "cuts long keys",
			fails:  []string{"content/AKeySurvives"},
			tamper: copies(func(m *broker.Message) { m.Key = m.Key[:min(len(m.Key), 128)] }),
		},
		{
			name:  "adds a header with each retry",
			fails: []string{"retry/AMessageIsTheSameAfterSeveralRetries", "deadletter/ADeadLetterIsTheMessageByteForByte"},
			tamper: together(
				deliveries(func(d *broker.Delivery) {
					if d.Attempt > 1 {
						d.Headers.Add("x-attempt", "again")
					}
				}),
				deadLettersRead(func(d *broker.Delivery) { d.Headers.Add("x-death", "once") }),
			),
		},
		{
			name:  "shares the publisher's message",
			fails: []string{"content/APublishedMessageMayBeReusedByItsPublisher"},
			tamper: func(b *bench) {
				var mu sync.Mutex
				shared := make(map[string]*broker.Message)
				published(func(_ *bench, publish publishFunc) publishFunc {
					return func(ctx context.Context, to string, messages ...*broker.Message) error {
						err := publish(ctx, to, messages...)
						mu.Lock()
						defer mu.Unlock()
						for _, m := range messages {
							if m != nil {
								shared[m.ID] = m
							}
						}
						return err
					}
				})(b)
				deliveries(func(d *broker.Delivery) {
					mu.Lock()
					defer mu.Unlock()
					if m := shared[d.ID]; m != nil {
						d.Body, d.Headers = m.Body, m.Headers
					}
				})(b)
			},
		},
		{
			name:  "reuses the memory of deliveries",
			fails: []string{"receive/DeliveriesStayAsTheyAreAfterTheNextReceive"},
			tamper: received(func(_ *bench, _ *tampered, receive receiveFunc) receiveFunc {
				buffer := make([]byte, 4096)
				return func(ctx context.Context, credit broker.Credit) ([]broker.Delivery, error) {
					ds, err := receive(ctx, credit)
					if credit.Messages == 1 && len(ds) == 1 && len(ds[0].Body) <= len(buffer) {
						ds[0].Body = buffer[:copy(buffer, ds[0].Body)]
					}
					return ds, err
				}
			}),
		},
		{
			name:  "confirms what it has not stored",
			fails: []string{"publish/AConfirmedMessageCanBeReceived"},
			tamper: published(func(_ *bench, publish publishFunc) publishFunc {
				return func(ctx context.Context, to string, messages ...*broker.Message) error {
					if len(messages) > 40 { // more than fits its buffer
						messages = slices.Delete(slices.Clone(messages), 20, 21)
					}
					return publish(ctx, to, messages...)
				}
			}),
		},
		{
			name:  "loses what nobody consumes yet",
			fails: []string{"publish/AConfirmedMessageWaitsForItsFirstConsumer"},
			tamper: func(b *bench) {
				var subscribed ids
				onSubscription(func(*bench, *tampered) { subscribed.add("") })(b)
				published(func(_ *bench, publish publishFunc) publishFunc {
					return func(ctx context.Context, to string, messages ...*broker.Message) error {
						subscribed.mu.Lock()
						anybody := subscribed.seen[""]
						subscribed.mu.Unlock()
						if !anybody && to == b.Name {
							return nil
						}
						return publish(ctx, to, messages...)
					}
				})(b)
			},
		},
		{
			name:   "confirms what has nowhere to go",
			fails:  []string{"publish/AQueueThatDoesNotExistIsNotFound"},
			tamper: publishErrors(func(err error) bool { return errors.Is(err, broker.ErrNotFound) }, nil),
		},
		{
			name:   "takes what was published after Close for safe",
			fails:  []string{"publish/AClosedPublisherSaysSo"},
			tamper: publishErrors(func(err error) bool { return errors.Is(err, broker.ErrClosed) }, nil),
		},
		{
			name:   "takes a nil message for a disconnect",
			fails:  []string{"publish/ANilMessageIsInvalid"},
			tamper: publishErrors(func(err error) bool { return errors.Is(err, broker.ErrInvalid) }, broker.ErrDisconnected),
		},
		{
			name:  "claims success of a cancelled Publish",
			fails: []string{"publish/ACancelledPublishSaysNothingFalse"},
			tamper: publishErrors(func(err error) bool {
				return errors.Is(err, context.Canceled)
			}, nil),
		},
		{
			name:   "tries a failed publish again by itself",
			fails:  []string{"fault/APublishThatFailedIsReportedAndMayBeTriedAgain"},
			tamper: publishErrors(func(err error) bool { return errors.Is(err, errPassing) }, nil),
		},
		{
			name:  "cuts what is over the limit",
			fails: []string{"publish/AMessageOverTheLimitIsRefusedAndNotStored"},
			tamper: copies(func(m *broker.Message) {
				m.Body = m.Body[:min(len(m.Body), 64<<10)]
			}),
		},
		{
			name:  "refuses what is over the limit and stores some of it",
			fails: []string{"publish/AMessageOverTheLimitIsRefusedAndNotStored"},
			tamper: published(func(_ *bench, publish publishFunc) publishFunc {
				return func(ctx context.Context, to string, messages ...*broker.Message) error {
					err := publish(ctx, to, messages...)
					if errors.Is(err, broker.ErrTooLarge) {
						part := messages[0].Clone()
						part.Body = part.Body[:min(len(part.Body), 100)]
						_ = publish(ctx, to, part)
					}
					return err
				}
			}),
		},
		{
			name:  "names the wrong message of a batch",
			fails: []string{"publish/PublishErrorNamesExactlyWhatFailed"},
			tamper: published(func(_ *bench, publish publishFunc) publishFunc {
				return func(ctx context.Context, to string, messages ...*broker.Message) error {
					err := publish(ctx, to, messages...)
					if named, ok := errors.AsType[*broker.PublishError](err); ok {
						for i := range named.Failed {
							named.Failed[i].Index = (named.Failed[i].Index + 1) % len(messages)
						}
					}
					return err
				}
			}),
		},
		{
			name:  "mixes up messages of concurrent publishers",
			fails: []string{"publish/PublishWorksFromManyGoroutines"},
			tamper: published(func(_ *bench, publish publishFunc) publishFunc {
				var mu sync.Mutex
				var shared broker.Message
				return func(ctx context.Context, to string, messages ...*broker.Message) error {
					if len(messages) != 1 || messages[0] == nil || len(messages[0].Body) != 3 {
						return publish(ctx, to, messages...)
					}
					mu.Lock()
					shared = *messages[0]
					mu.Unlock()
					time.Sleep(time.Microsecond) // others come in between
					mu.Lock()
					m := shared.Clone()
					mu.Unlock()
					return publish(ctx, to, m)
				}
			}),
		},
	}
}

// publishErrors replaces some errors of Publish.
func publishErrors(match func(error) bool, by error) func(*bench) {
	return published(func(_ *bench, publish publishFunc) publishFunc {
		return func(ctx context.Context, to string, messages ...*broker.Message) error {
			err := publish(ctx, to, messages...)
			if err != nil && match(err) {
				return by
			}
			return err
		}
	})
}
