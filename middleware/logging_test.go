package middleware_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/failure"
	"github.com/anyqueue/anyqueue/middleware"
	"github.com/anyqueue/anyqueue/runtime"
)

// Each attempt makes one record that says what came of it.
func TestLoggingWritesOneRecordPerAttempt(t *testing.T) {
	for _, c := range []struct {
		name    string
		handler runtime.Handler
		want    string
	}{
		{"success", succeed, `level=DEBUG msg="message handled" outcome=handled queue=orders message_id=1 attempt=1 duration=0s`},
		{
			"failure", returns(failure.Dependency(errors.New("bank is down"))),
			`level=WARN msg="message failed" outcome=failed queue=orders message_id=1 attempt=1 duration=0s failure_class=dependency error="bank is down"`,
		},
		{
			"release", returns(runtime.Release(time.Second, "busy")),
			`level=DEBUG msg="message release" outcome=release queue=orders message_id=1 attempt=1 duration=0s error="release after 1s: busy"`,
		},
		{
			"drop", returns(runtime.Drop("obsolete")),
			`level=DEBUG msg="message drop" outcome=drop queue=orders message_id=1 attempt=1 duration=0s error="drop: obsolete"`,
		},
		{
			"dead letter", returns(runtime.DeadLetter(failure.Data(errors.New("cancelled")))),
			`level=WARN msg="message dead_letter" outcome=dead_letter queue=orders message_id=1 attempt=1 duration=0s failure_class=data error="dead_letter: cancelled"`,
		},
		{
			"panic", panics,
			`level=WARN msg="message panicked" outcome=panicked queue=orders message_id=1 attempt=1 duration=0s failure_class=bug`,
		},
		{
			"goexit", goexit,
			`level=WARN msg="message panicked" outcome=panicked queue=orders message_id=1 attempt=1 duration=0s failure_class=bug`,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var out bytes.Buffer
				logger := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{
					Level: slog.LevelDebug,
					ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
						if a.Key == slog.TimeKey {
							return slog.Attr{}
						}
						return a
					},
				}))
				h := wrap(t, c.handler, middleware.Logging(middleware.LoggingOptions{Logger: logger}))
				d := message("1", "secret body")
				d.Key = "secret key"
				d.Headers = broker.Headers{{Name: "secret", Value: "secret"}}
				contained(t.Context(), h, d)
				if got := strings.TrimSpace(out.String()); got != c.want {
					t.Errorf("\ngot  %s\nwant %s", got, c.want)
				}
			})
		})
	}
}

// The trace that the attempt belongs to is named, so that logs and traces meet.
func TestLoggingNamesTheTrace(t *testing.T) {
	var out bytes.Buffer
	h := wrap(t, returns(errHandler), middleware.Logging(middleware.LoggingOptions{Logger: slog.New(slog.NewTextHandler(&out, nil))}))
	ctx := trace.ContextWithSpanContext(t.Context(), trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: trace.TraceID{1}, SpanID: trace.SpanID{1},
	}))
	if err := h(ctx, message("1", "")); err != errHandler {
		t.Errorf("the error became %v", err)
	}
	if want := "trace_id=01000000000000000000000000000000"; !strings.Contains(out.String(), want) {
		t.Errorf("%s is not in %s", want, out.String())
	}
}

// Levels can be set, and a level that is off writes nothing.
func TestLoggingKeepsToItsLevels(t *testing.T) {
	logs := &records{level: slog.LevelInfo}
	logger := slog.New(logs)
	deliver := func(o middleware.LoggingOptions, h runtime.Handler) string {
		o.Logger = logger
		_ = wrap(t, h, middleware.Logging(o))(t.Context(), message("1", ""))
		return logs.levels()
	}
	if got := deliver(middleware.LoggingOptions{}, succeed); got != "" {
		t.Errorf("a success at debug was written at %s", got)
	}
	if got := deliver(middleware.LoggingOptions{Level: slog.LevelInfo}, succeed); got != "INFO" {
		t.Errorf("a success at info was written at %q", got)
	}
	if got := deliver(middleware.LoggingOptions{FailureLevel: slog.LevelError}, returns(errHandler)); got != "ERROR" {
		t.Errorf("a failure at error was written at %q", got)
	}
}

// A record that nobody wants allocates nothing.
func TestLoggingIsCheapWhenDisabled(t *testing.T) {
	h := wrap(t, succeed, middleware.Logging(middleware.LoggingOptions{Logger: slog.New(slog.DiscardHandler)}))
	d := message("1", "")
	ctx := context.Background()
	if n := testing.AllocsPerRun(100, func() { _ = h(ctx, d) }); n > 0 {
		t.Errorf("%v allocations per message", n)
	}
}
