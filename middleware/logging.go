package middleware

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/failure"
	"github.com/anyqueue/anyqueue/runtime"
)

// LoggingOptions configures [Logging]. The zero value is usable.
type LoggingOptions struct {
	// Logger gets the records. Default slog.Default(), as it is when the middleware
	// is made.
	Logger *slog.Logger
	// Level is the level of a message that was handled, dropped or released.
	// Default slog.LevelDebug.
	Level slog.Leveler
	// FailureLevel is the level of a failed attempt. Default slog.LevelWarn.
	FailureLevel slog.Leveler
}

// Logging writes one record for each attempt when it has ended, with the fields
// outcome, queue, message_id, attempt, duration, and where they apply
// failure_class, error and trace_id. Payloads, headers and keys are never logged;
// what an error's text says is the handler's choice.
//
// outcome is what the handler asked for: handled, failed, panicked, or the
// explicit drop, retry, release and dead_letter. What becomes of a failure the
// runtime decides, and counts. A disabled level costs two comparisons and a call
// of time.Now.
func Logging(o LoggingOptions) runtime.Middleware {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Level == nil {
		o.Level = slog.LevelDebug
	}
	if o.FailureLevel == nil {
		o.FailureLevel = slog.LevelWarn
	}
	return runtime.Middleware{
		Name:   "logging",
		Unique: true,
		Wrap: func(next runtime.Handler) runtime.Handler {
			return func(ctx context.Context, d *broker.Delivery) error {
				start, returned := time.Now(), false
				defer func() {
					if !returned { // a panic on its way through, or Goexit
						o.log(ctx, d, start, "panicked", failure.ClassBug, nil)
					}
				}()
				err := next(ctx, d)
				returned = true
				outcome, class := read(err)
				o.log(ctx, d, start, outcome, class, err)
				return err
			}
		},
	}
}

// read returns an error's outcome in one word, and its class when it is a
// failure.
func read(err error) (outcome string, class failure.Class) {
	if err == nil {
		return "handled", ""
	}
	asked, explicit := errors.AsType[*runtime.Outcome](err)
	if !explicit {
		return "failed", failure.Classify(err)
	}
	switch asked.Action {
	case broker.Ack:
		return "drop", ""
	case broker.Release:
		return asked.Action.String(), ""
	default:
		return asked.Action.String(), failure.Classify(err)
	}
}

func (o *LoggingOptions) log(
	ctx context.Context, d *broker.Delivery, start time.Time, outcome string, class failure.Class, err error,
) {
	level := o.Level.Level()
	if class != "" {
		level = o.FailureLevel.Level()
	}
	if !o.Logger.Enabled(ctx, level) {
		return
	}
	attrs := make([]slog.Attr, 0, 8)
	attrs = append(attrs,
		slog.String("outcome", outcome),
		slog.String("queue", d.Source),
		slog.String("message_id", d.ID),
		slog.Int("attempt", attempt(ctx, d)),
		slog.Duration("duration", time.Since(start)),
	)
	if class != "" {
		attrs = append(attrs, slog.String("failure_class", string(class)))
	}
	if err != nil {
		attrs = append(attrs, slog.Any("error", err))
	}
	if span := trace.SpanContextFromContext(ctx); span.HasTraceID() {
		attrs = append(attrs, slog.String("trace_id", span.TraceID().String()))
	}
	o.Logger.LogAttrs(ctx, level, "message "+outcome, attrs...)
}

// attempt is the number of the attempt, with what runtime.Step spent.
func attempt(ctx context.Context, d *broker.Delivery) int {
	if info, ok := runtime.InfoFrom(ctx); ok {
		return info.Attempt
	}
	return d.Attempt
}
