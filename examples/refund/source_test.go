package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/failure"
)

func newDesk() desk { return desk{newOrderBook(), newAccounts("test")} }

// collect returns all messages of a source.
func collect(t *testing.T, s source) []*broker.Message {
	t.Helper()
	var all []*broker.Message
	for batch, err := range s.batches() {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, batch...)
	}
	return all
}

// The same seed makes the same requests, another one makes others.
func TestSeedDecidesWhatIsMadeUp(t *testing.T) {
	made := func(seed uint64) string {
		var all strings.Builder
		for _, m := range collect(t, &generated{desk: newDesk(), count: 250, seed: seed}) {
			fmt.Fprintf(&all, "%s %s v%d %q\n", m.ID, m.Key, m.SchemaVersion, m.Body)
		}
		return all.String()
	}
	first := made(1)
	if made(1) != first {
		t.Error("one seed makes different requests")
	}
	if made(2) == first {
		t.Error("two seeds make the same requests")
	}
}

// Three requesters ask for each order, some requests come twice, and in each
// hundred orders there is each fault; the panic is there once.
func TestEachFaultIsMadeUp(t *testing.T) {
	for _, count := range []int{4, 99, 100, 1000, 1050} {
		d := newDesk()
		all := collect(t, &generated{desk: d, count: count, seed: 5})
		hundreds := max(count/100, 1)
		expect := map[failure.Class]int{}
		copies := 0
		d.accounts.each(func(_ string, e account) {
			expect[e.expect]++
			copies += int(e.copies)
		})
		if len(d.accounts.entries) != 3*count || d.orders.len() != count || len(all) != copies {
			t.Errorf("%d orders: %d requests, %d messages, of them %d entered", count, len(d.accounts.entries), len(all), copies)
		}
		if count >= 99 && copies == 3*count {
			t.Errorf("%d orders: no request comes twice", count)
		}
		if expect[failure.ClassBug] != 1 || expect[failure.ClassData] < 3*hundreds || expect[failure.ClassFormat] < 2*hundreds {
			t.Errorf("%d orders: expected dead letters %v", count, expect)
		}
	}
}

// What a line must become is foreseen: this is what the verification compares the
// dead letters with.
func TestLineIsForeseen(t *testing.T) {
	for text, want := range map[string]struct {
		version int
		order   string
		expect  failure.Class
	}{
		`{"order":"A","requester":"customer","amount":200}`:                                    {1, "A", ""},
		`{"order":"A","requester":"loyalty","amount":200,"schema_version":2,"points_per":10}`:  {2, "A", ""},
		`{"order":"A","requester":"loyalty","amount":200,"schema_version":2}`:                  {2, "A", failure.ClassBug},
		`{"order":"A","requester":"loyalty","amount":200,"schema_version":2,"points_per":201}`: {2, "A", failure.ClassData},
		`{"order":"A","requester":"customer","amount":201}`:                                    {1, "A", failure.ClassData},
		`{"requester":"customer","amount":200}`:                                                {1, "", failure.ClassData},
		`{"order":"gone","requester":"customer","amount":200}`:                                 {1, "gone", failure.ClassData},
		`{"order":"A","requester":"customer","amount":200,"schema_version":9}`:                 {9, "A", failure.ClassFormat},
		`{"order":"A","requester":"customer","amount":200,"schema_version":"two"}`:             {0, "A", failure.ClassFormat},
		`{"order":"A","requester":"customer","amount":200,"schema_version":1.5}`:               {0, "A", failure.ClassFormat},
		`{"order":7,"requester":"customer","amount":200}`:                                      {1, "", failure.ClassFormat},
		`{"order":"A","requester":`:                                                            {1, "", failure.ClassFormat},
		`null`:                                                                                 {1, "", failure.ClassData},
		`[]`:                                                                                   {1, "", failure.ClassFormat},
		"\xff\x00":                                                                             {1, "", failure.ClassFormat},
	} {
		in := &input{desk: newDesk()}
		in.orders.add("gone", true, false)
		version, order, expect, reason := in.foresee([]byte(text))
		if version != want.version || order != want.order || expect != want.expect || (reason == nil) != (expect == "") {
			t.Errorf("%s: version %d, order %q, %q (%v); want %+v", text, version, order, expect, reason, want)
		}
	}
}

// A line is published byte for byte; one that stands there twice is one message
// published twice.
func TestInputIsPublishedAsItIs(t *testing.T) {
	const one = `{"order":"A-1",  "requester":"customer","amount":200}`
	text := one + "\r\n\n  not json \n" + one + "\n" + `{"order":"A-1","requester":"seller","amount":200}`
	var reported []int
	d := newDesk()
	all := collect(t, &input{desk: d, name: "x", from: strings.NewReader(text), report: func(line int, _ failure.Class, _ error) { reported = append(reported, line) }})
	var got []string
	for _, m := range all {
		got = append(got, fmt.Sprintf("%s %s %s", m.ID, m.Key, m.Body))
	}
	want := []string{"test-0 A-1 " + one, "test-1  not json", "test-0 A-1 " + one, `test-2 A-1 {"order":"A-1","requester":"seller","amount":200}`}
	if !slices.Equal(got, want) || !slices.Equal(reported, []int{3}) || d.accounts.entries[0].copies != 2 {
		t.Errorf("got %q, reported %v", got, reported)
	}
}

// Any input is published, whatever stands in it, and each message ends as it was
// foreseen.
func FuzzInput(f *testing.F) {
	f.Add([]byte(`{"order":"A","requester":"customer","amount":200}` + "\n" + `{"order":"A","requester":"seller","amount":200,"schema_version":3}`))
	f.Add([]byte(`{"order":"A","requester":"loyalty","amount":200,"schema_version":2,"order_status":"cancelled"}`))
	f.Add([]byte("{\"ORDER\":\"A\",\"amount\":200}\n\x00\xff\n{\"order\":1,\"schema_version\":-1}\n[]\nnull\n1e999"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 10_000 || len(strings.Fields(string(data))) == 0 {
			return
		}
		synctest.Test(t, func(t *testing.T) {
			j := newJob(t, 4, 0)
			j.source = func(d desk) source {
				return &input{desk: d, name: "fuzz", from: strings.NewReader(string(data)), report: func(int, failure.Class, error) {}}
			}
			o := do(t, t.Context(), j)
			if err := errors.Join(o.stopped, o.verify()); err != nil {
				t.Error(err)
			}
		})
	})
}

// refusing fails as often as it is told to, each time for one message more.
type refusing struct {
	errs []error
	got  [][]string
}

func (p *refusing) Publish(_ context.Context, _ string, messages ...*broker.Message) error {
	var ids []string
	for _, m := range messages {
		ids = append(ids, m.ID)
	}
	p.got = append(p.got, ids)
	if len(p.errs) == 0 {
		return nil
	}
	err := p.errs[0]
	p.errs = p.errs[1:]
	return err
}

func (p *refusing) Close(context.Context) error { return nil }

// What was not confirmed is published again with its ID, and only that; what a
// broker will never take ends the job.
func TestUnconfirmedMessagesArePublishedAgain(t *testing.T) {
	batch := []*broker.Message{{ID: "a"}, {ID: "b"}, {ID: "c"}}
	synctest.Test(t, func(t *testing.T) {
		to := &refusing{errs: []error{
			broker.ErrDisconnected,
			&broker.PublishError{Failed: []broker.Failed{{Index: 1, Err: broker.ErrFull}, {Index: 2, Err: broker.ErrFull}}},
		}}
		p := publisher{to: to, queue: "q"}
		if err := p.send(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(to.got); got != "[[a b c] [a b c] [b c]]" || p.sent.Load() != 3 {
			t.Errorf("published %s, %d sent", got, p.sent.Load())
		}
	})
	to := &refusing{errs: []error{broker.ErrTooLarge}}
	p := publisher{to: to}
	if err := p.send(t.Context(), batch); !errors.Is(err, broker.ErrTooLarge) || len(to.got) != 1 {
		t.Errorf("send = %v after %d calls", err, len(to.got))
	}
}

// A reader that fails in the middle ends the job with the line.
func TestUnreadableInputNamesItsLine(t *testing.T) {
	from := io.MultiReader(strings.NewReader("{}\n{}\n"), failing{})
	in := &input{desk: newDesk(), name: "x.jsonl", from: from, report: func(int, failure.Class, error) {}}
	var last error
	for _, err := range in.batches() {
		last = err
	}
	if _, ok := errors.AsType[usageError](last); !ok || !errors.Is(last, io.ErrNoProgress) || !strings.Contains(last.Error(), "x.jsonl:3") {
		t.Errorf("err = %v", last)
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, io.ErrNoProgress }

// The service pays once for a key, is down and then slow at its time, and has
// paid when a slow call is given up.
func TestPaymentServicePaysOncePerKeyThroughItsTroubles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPayments(trouble{after: 1, down: time.Second, slow: time.Second})
		pay := func(key string) error { return p.refund(t.Context(), key, "order", price) }
		if err := errors.Join(pay("a"), pay("b")); !errors.Is(err, errDown) || p.total() != 1 {
			t.Errorf("err = %v, %d payouts", err, p.total())
		}
		time.Sleep(time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), slowCall/2)
		defer cancel()
		if err := p.refund(ctx, "b", "order", price); !errors.Is(err, context.DeadlineExceeded) || p.total() != 2 {
			t.Errorf("err = %v, %d payouts", err, p.total())
		}
		if err := errors.Join(pay("a"), pay("b")); err != nil || p.total() != 2 {
			t.Errorf("err = %v, %d payouts", err, p.total())
		}
	})
}
