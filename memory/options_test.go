package memory

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/anyqueue/anyqueue/broker"
)

// fields returns the fields that err names.
func fields(err error) []string {
	var out []string
	var walk func(error)
	walk = func(err error) {
		switch e := err.(type) {
		case interface{ Unwrap() []error }:
			for _, err := range e.Unwrap() {
				walk(err)
			}
		default:
			if f, ok := errors.AsType[*broker.FieldError](err); ok {
				out = append(out, f.Field)
			}
		}
	}
	walk(err)
	return out
}

// Every fault of a queue's settings is reported at once, by field.
func TestValidateReportsEveryFault(t *testing.T) {
	for _, c := range []struct {
		q    Queue
		want []string
	}{
		{Queue{Name: "q"}, nil},
		{Queue{Name: "q", Lease: -1}, nil},
		{Queue{Name: "q", MaxLease: DefaultLease}, nil},
		{Queue{}, []string{"Name"}},
		{Queue{Name: "q", MaxLease: DefaultLease - 1}, []string{"MaxLease"}},
		{Queue{Name: "q", MaxLease: time.Hour, Lease: -1}, []string{"MaxLease"}},
		{Queue{Name: "q", DeadLetter: "x", Without: Without{DeadLetters: true}}, []string{"DeadLetter"}},
		{
			Queue{MaxLease: -1, DeliveryLimit: -1, MaxMessages: -1, MaxBytes: -1, MaxDelay: -1},
			[]string{"Name", "MaxLease", "DeliveryLimit", "MaxMessages", "MaxBytes", "MaxDelay"},
		},
	} {
		err := c.q.Validate()
		if got := fields(err); !slices.Equal(got, c.want) || (err != nil) != errors.Is(err, broker.ErrInvalid) {
			t.Errorf("%+v: faults of %v, want %v", c.q, got, c.want)
		}
	}
}

// A subscription's options are checked against its queue: leases without a
// deadline need a session to end them.
func TestSubscribeReportsEveryFault(t *testing.T) {
	inBubbleWith(t, Queue{Lease: -1}, sessions, func(b *bench) {
		_, err := b.Subscribe("q", SubscribeOptions{MaxSettle: -1, MaxExtend: -1, SettleCalls: -1, SettleLinger: -1})
		if got, want := fields(errors.Unwrap(err)), []string{"MaxSettle", "MaxExtend", "SettleCalls", "SettleLinger", "SessionLeases"}; !slices.Equal(got, want) {
			b.Fatalf("faults of %v, want %v", got, want)
		}
		_, err = b.Subscribe("nowhere", SubscribeOptions{})
		b.wantIs(err, broker.ErrNotFound)
	})
}

// The driver opens a queue of a broker of its own as its settings say.
func TestDriverOpensAQueue(t *testing.T) {
	s := Driver.Settings().(*Settings)
	*s = Settings{Lease: time.Minute, MaxLease: time.Hour, DeadLetter: "dead", DeliveryLimit: 20, MaxMessages: 1, MaxMessageBytes: 50, MaxDelay: time.Hour}
	end, err := Driver.Open(t.Context(), s, "refunds", broker.Intent{MaxAttempts: 5})
	if err != nil {
		t.Fatal(err)
	}
	defer end.Subscription.(*Subscription).Broker().Close()
	if end.Queue != "refunds" || end.DeadLetter != "dead" || Driver.Name() != "memory" {
		t.Fatalf("endpoint is %+v", end)
	}
	c := end.Subscription.Capabilities()
	if c.Lease != time.Minute || c.MaxLease != time.Hour || c.DeliveryLimit != 20 || c.MaxMessageBytes != 50 || c.MaxDelay != time.Hour {
		t.Fatalf("capabilities are %+v", c)
	}
	if err := end.Publisher.Publish(t.Context(), end.Queue, &broker.Message{}); err != nil {
		t.Fatal(err)
	}
	if err := end.Publisher.Publish(t.Context(), end.Queue, &broker.Message{}); !errors.Is(err, broker.ErrFull) {
		t.Fatalf("error is %v, want ErrFull", err)
	}
	ds, err := end.Subscription.Receive(t.Context(), broker.Credit{Messages: 1, Bytes: 1})
	if err != nil || len(ds) != 1 || ds[0].Session != nil {
		t.Fatalf("received %v, %v", ds, err)
	}
}

// The driver refuses settings that cannot work.
func TestDriverRefusesWhatCannotWork(t *testing.T) {
	bad := &Settings{Lease: -1, MaxMessages: -1}
	if got, want := fields(bad.Validate()), []string{"MaxMessages", "SessionLeases"}; !slices.Equal(got, want) {
		t.Errorf("faults of %v, want %v", got, want)
	}
	if _, err := Driver.Open(t.Context(), bad, "q", broker.Intent{}); !errors.Is(err, broker.ErrInvalid) {
		t.Errorf("error is %v, want ErrInvalid", err)
	}
}
