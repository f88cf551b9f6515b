// Refund is the main example of anyqueue: a shop refunds orders, and whatever
// goes wrong on the way, no order is refunded twice and no request is lost.
//
// README.md beside it tells the story; go run ./examples/refund plays it.
package main

import (
	"context"
	"crypto/rand"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/config"
	"github.com/anyqueue/anyqueue/failure"
	"github.com/anyqueue/anyqueue/memory"
	"github.com/anyqueue/anyqueue/rabbit"
)

// drivers are the brokers that a configuration file may name.
var drivers = []broker.Driver{memory.Driver, rabbit.Driver}

// defaultConfig is used without -config.
//
//go:embed memory.yaml
var defaultConfig []byte

// Exit codes.
const (
	exitDone        = 0
	exitFailed      = 1   // an invariant is broken, or the job could not be done
	exitUsage       = 2   // flags, configuration or input are wrong
	exitInterrupted = 130 // as shells have it for Ctrl-C
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	code := program(ctx, os.Args[1:], console{os.Stdin, os.Stdout, os.Stderr, isTerminal(os.Stderr)})
	stop()
	os.Exit(code)
}

// console is what the program reads and writes. Progress is shown on err when
// that is a terminal.
type console struct {
	in       io.Reader
	out, err io.Writer
	terminal bool
}

// program is main, and returns the exit code.
func program(ctx context.Context, args []string, c console) int {
	o, err := parse(args, c.err)
	if err != nil {
		return exitUsage // parse has said why
	}
	j, closeInput, err := o.job(c)
	if err != nil {
		return c.fail(err)
	}
	defer closeInput()
	slog.SetDefault(j.log) // the adapter's warnings are wanted from the same level up
	if o.explain {
		if err := j.explain(ctx, c.out); err != nil {
			return c.fail(err)
		}
		return exitDone
	}
	result, err := j.run(ctx, rand.Text()[:10])
	if result == nil {
		return c.fail(err)
	}
	if wrong, ok := errors.AsType[usageError](result.stopped); ok && result.sent == 0 {
		return c.fail(wrong) // there is nothing to report
	}
	broken := result.verify()
	r := newReport(result, broken)
	r.Broker, r.Queue = j.file.Broker, j.file.Queue
	write := r.write
	if o.json {
		write = r.writeJSON
	}
	return c.judge(errors.Join(err, write(c.out)), result.stopped, broken)
}

// fail reports an error, and returns the exit code that fits: what a user can
// correct in flags and files is told apart from what went wrong.
func (c console) fail(err error) int {
	fmt.Fprintln(c.err, "refund:", err)
	_, wrongConfig := errors.AsType[*config.Error](err)
	if _, wrong := errors.AsType[usageError](err); wrong || wrongConfig {
		return exitUsage
	}
	return exitFailed
}

// judge returns the exit code of a job that was run: what failed, why it was
// stopped, and what is broken.
func (c console) judge(failed, stopped, broken error) int {
	code := exitDone
	if stopped != nil {
		code = c.fail(stopped)
		if errors.Is(stopped, errInterrupted) {
			code = exitInterrupted
		}
	}
	if err := errors.Join(failed, broken); err != nil {
		c.fail(err)
		code = exitFailed
	}
	return code
}

// The payment service is down for so long, and slow afterwards.
const (
	downFor = 2 * time.Second
	slowFor = 3 * time.Second
)

// job makes the job that the flags ask for, and a function that closes its input.
func (o options) job(c console) (*job, func(), error) {
	j := &job{timeout: o.timeout, log: o.logger(c.err)}
	if c.terminal {
		j.watch = showProgress(c.err)
	}
	var err error
	if o.config == "" {
		j.file, err = config.Parse("memory.yaml", defaultConfig, nil, drivers...)
	} else {
		j.file, err = config.Load(o.config, drivers...)
	}
	if err != nil {
		return nil, nil, usageError{err}
	}
	if o.input == "" {
		j.trouble = trouble{after: o.orders / 4, down: downFor, slow: slowFor}
		j.source = func(d desk) source { return &generated{desk: d, count: o.orders, seed: o.seed} }
		return j, func() {}, nil
	}
	from, closeIt := c.in, func() {}
	if o.input != "-" {
		f, err := os.Open(o.input)
		if err != nil {
			return nil, nil, usageError{fmt.Errorf("read the input: %w", err)}
		}
		from, closeIt = f, func() { _ = f.Close() } // only read from
	}
	j.trouble = trouble{after: 1, down: downFor, slow: slowFor}
	j.source = func(d desk) source {
		return &input{desk: d, name: o.input, from: from, report: func(line int, class failure.Class, reason error) {
			fmt.Fprintf(c.err, "%s:%d: will be dead-lettered as %s: %v\n", o.input, line, class, reason)
		}}
	}
	return j, closeIt, nil
}
