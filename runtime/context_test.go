package runtime_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/memory"
	"github.com/anyqueue/anyqueue/runtime"
)

// The context behaves as context.WithTimeout's does, whoever looks first and in
// which order.
func TestTimeoutContextBehavesAsTheStandardOne(t *testing.T) {
	type key struct{}
	looks := map[string]func(ctx context.Context){
		"nobody looked": func(context.Context) {},
		"Done":          func(ctx context.Context) { <-ctx.Done() },
		"Err":           func(ctx context.Context) { _ = ctx.Err() },
		"a child": func(ctx context.Context) {
			child, cancel := context.WithCancel(ctx)
			defer cancel()
			<-child.Done()
			if !errors.Is(context.Cause(child), runtime.ErrTimeout) {
				t.Errorf("a child's cause is %v", context.Cause(child))
			}
		},
	}
	for name, look := range looks {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				parent := context.WithValue(t.Context(), key{}, "value")
				ctx, cancel := runtime.WithTimeout(parent, time.Second)
				defer cancel()
				if at, ok := ctx.Deadline(); !ok || !at.Equal(time.Now().Add(time.Second)) {
					t.Errorf("deadline %v %v", at, ok)
				}
				if ctx.Err() != nil || context.Cause(ctx) != nil {
					t.Errorf("ended before its time: %v", ctx.Err())
				}
				look(ctx)
				time.Sleep(time.Second)
				synctest.Wait()
				if !errors.Is(ctx.Err(), context.DeadlineExceeded) || !errors.Is(context.Cause(ctx), runtime.ErrTimeout) {
					t.Errorf("Err %v, Cause %v", ctx.Err(), context.Cause(ctx))
				}
				select {
				case <-ctx.Done():
				default:
					t.Error("Done is not closed")
				}
				if ctx.Value(key{}) != "value" {
					t.Error("the parent's values are lost")
				}
			})
		})
	}
}

// A parent's end and its cause reach the context, and an earlier deadline stays.
func TestTimeoutContextEndsWithItsParent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reason := errors.New("reason")
		parent, end := context.WithCancelCause(t.Context())
		outer, cancelOuter := runtime.WithTimeout(parent, time.Minute)
		defer cancelOuter()
		inner, cancelInner := runtime.WithTimeout(outer, time.Hour)
		defer cancelInner()
		if at, _ := inner.Deadline(); !at.Equal(time.Now().Add(time.Minute)) {
			t.Errorf("the inner deadline is %v", at)
		}
		end(reason)
		if !errors.Is(inner.Err(), context.Canceled) {
			t.Errorf("Err %v", inner.Err())
		}
		<-inner.Done()
		if !errors.Is(context.Cause(inner), reason) {
			t.Errorf("Cause %v", context.Cause(inner))
		}
	})
}

// A handler's context ends when the handler has returned, so that what it left
// behind stops too; its values stay readable.
func TestHandlersContextEndsWithTheHandler(t *testing.T) {
	inWorld(t, memory.Queue{}, func(w *world) {
		var kept []context.Context
		w.run(func(ctx context.Context, d *broker.Delivery) error {
			kept = append(kept, ctx)
			if string(d.Body) == "looked" {
				_ = ctx.Done()
			}
			return nil
		}, runtime.Options{Concurrency: 1})
		w.publish(body("looked"), body("did not"))
		settleDown(time.Second)
		for _, ctx := range kept {
			select {
			case <-ctx.Done():
			default:
				t.Error("Done is not closed")
			}
			if !errors.Is(ctx.Err(), context.Canceled) || !errors.Is(context.Cause(ctx), context.Canceled) {
				t.Errorf("Err %v, Cause %v", ctx.Err(), context.Cause(ctx))
			}
			if info, ok := runtime.InfoFrom(ctx); !ok || info.Attempt != 1 || info.Consumer != "memory/jobs" {
				t.Errorf("info %+v %v", info, ok)
			}
		}
	})
}

// Handlers see the values of Run's context, but not its end.
func TestHandlersSeeRunsValuesButNotItsEnd(t *testing.T) {
	type key struct{}
	inWorld(t, memory.Queue{}, func(w *world) {
		var value any
		var during error
		c, err := runtime.New(w.subscribe(memory.SubscribeOptions{}), func(ctx context.Context, _ *broker.Delivery) error {
			time.Sleep(10 * time.Second)
			value, during = ctx.Value(key{}), ctx.Err()
			return nil
		}, runtime.Options{Logger: quiet})
		if err != nil {
			t.Fatal(err)
		}
		w.publish(body("a"))
		ctx, cancel := context.WithTimeout(context.WithValue(w.Context(), key{}, "value"), 5*time.Second)
		defer cancel()
		if err := c.Run(ctx); err != nil {
			t.Error(err)
		}
		if value != "value" || during != nil {
			t.Errorf("value %v, Err after Run's context ended: %v", value, during)
		}
	})
}
