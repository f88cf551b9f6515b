package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"time"
)

// options are the flags.
type options struct {
	config  string
	orders  int
	input   string
	seed    uint64
	json    bool
	explain bool
	timeout time.Duration
	level   slog.Level
}

// maxOrders is where a run would take hours.
const maxOrders = 10_000_000

// usageError is what the user can correct in the flags and files.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// parse reads the flags. What is wrong with them it has told err before it
// returns.
func parse(args []string, err io.Writer) (options, error) {
	var o options
	f := flag.NewFlagSet("refund", flag.ContinueOnError)
	f.SetOutput(err)
	f.Usage = func() {
		fmt.Fprint(err, "Refunds orders, each exactly once, while everything around it fails.\n\nusage: refund [flags]\n\n")
		f.PrintDefaults()
		fmt.Fprint(err, "\nExit code: 0 done and verified, 1 an invariant is broken or the job failed,\n2 flags, configuration or input are wrong, 130 interrupted.\n")
	}
	f.StringVar(&o.config, "config", "", "configuration `file` of the worker (default: the embedded broker)")
	f.IntVar(&o.orders, "orders", 1000, "how many orders to make up")
	f.StringVar(&o.input, "input", "", "`file` with refund requests as JSON lines, instead of made-up ones; - is standard input")
	f.Uint64Var(&o.seed, "seed", 1, "makes other requests")
	f.BoolVar(&o.json, "json", false, "print one JSON object instead of text")
	f.BoolVar(&o.explain, "explain", false, "say what the configuration means on its broker, and stop")
	f.DurationVar(&o.timeout, "timeout", 5*time.Minute, "give up when the job is not done by then")
	f.TextVar(&o.level, "log", slog.LevelError, "log to standard error from this `level` up: debug, info, warn or error")
	if e := f.Parse(args); e != nil {
		return o, e
	}
	if e := o.check(f); e != nil {
		fmt.Fprintf(err, "refund: %v\n", e)
		return o, e
	}
	return o, nil
}

// check reports every fault at once.
func (o options) check(f *flag.FlagSet) error {
	var errs []error
	if f.NArg() > 0 {
		errs = append(errs, fmt.Errorf("unexpected argument %q: there are only flags, see -help", f.Arg(0)))
	}
	if o.orders < 1 || o.orders > maxOrders {
		errs = append(errs, fmt.Errorf("-orders %d: must be 1 to %d", o.orders, maxOrders))
	}
	if o.timeout <= 0 {
		errs = append(errs, fmt.Errorf("-timeout %s: must be positive", o.timeout))
	}
	f.Visit(func(x *flag.Flag) {
		if o.input != "" && (x.Name == "orders" || x.Name == "seed") {
			errs = append(errs, fmt.Errorf("-%s: has no meaning with -input, which says what there is to do", x.Name))
		}
	})
	return errors.Join(errs...)
}

// logger is quiet unless it is asked to speak: the job reports at its end.
func (o options) logger(w io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: o.level}))
}

// explain writes what the configuration means.
func (j *job) explain(ctx context.Context, w io.Writer) error {
	worker, err := j.open(ctx)
	if err != nil {
		return err
	}
	r, err := j.prepare(worker, "explain")
	if err == nil {
		_, err = io.WriteString(w, r.consumer.Explain().String())
	}
	return errors.Join(err, worker.Close(ctx))
}
