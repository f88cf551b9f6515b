// Command soak runs the consumer runtime on the in-memory broker for long and at
// full speed, with failures of every kind, and drains a large backlog, and drains
// another one of a RabbitMQ server where there is one. It fails
// when a message is unaccounted for, when memory grows, or when goroutines are
// left. Its figures go into a Markdown file; `make soak` runs it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	goruntime "runtime"
	"strings"
	"time"

	"github.com/anyqueue/anyqueue/bench/internal/section"
	"github.com/anyqueue/anyqueue/bench/rabbitmq"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("soak", flag.ContinueOnError)
	out := flags.String("out", "", "file whose section of soak figures is written anew; none by default")
	backlog := flags.Int("backlog", 1_000_000, "messages that are drained")
	long := flags.Duration("for", 5*time.Minute, "how long the run with failures lasts")
	only := flags.String("only", "", "memory or rabbitmq: that alone")
	url := flags.String("rabbitmq", os.Getenv(rabbitmq.Variable), "address of the RabbitMQ server; default $"+rabbitmq.Variable)
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *backlog < 1 || *long <= 0 {
		return fmt.Errorf("-backlog %d, -for %s: must be above 0", *backlog, *long)
	}

	if *only != "" && *only != "memory" && *only != "rabbitmq" {
		return fmt.Errorf("-only %s: must be memory or rabbitmq", *only)
	}

	if *only != "rabbitmq" {
		if err := inMemory(ctx, *out, *backlog, *long); err != nil {
			return err
		}
	}
	switch {
	case *only == "memory":
		return nil
	case *url == "":
		fmt.Fprintln(os.Stderr, "SKIPPED, and its section left as it is:", rabbitmq.NoServer)
		return nil
	}
	goroutines := goruntime.NumGoroutine()
	text, err := drainRabbit(ctx, *url, *backlog)
	fmt.Print(text)
	if err := errors.Join(err, noMoreThan(goroutines)); err != nil || *out == "" {
		return err
	}
	return section.Write(*out, "soak rabbitmq", text)
}

// inMemory is the soak of the in-memory broker.
func inMemory(ctx context.Context, out string, backlog int, long time.Duration) error {
	var text strings.Builder
	fmt.Fprintf(&text, "## Soak\n\nWritten by `make soak`: %s/%s, %d cores, %s, %s.\n\n",
		goruntime.GOOS, goruntime.GOARCH, goruntime.GOMAXPROCS(0), goruntime.Version(), time.Now().UTC().Format(time.DateOnly))
	goroutines := goruntime.NumGoroutine()
	drained, err1 := drain(ctx, backlog)
	text.WriteString(drained)
	failed, err2 := failing(ctx, long)
	text.WriteString(failed)
	err3 := noMoreThan(goroutines)
	fmt.Print(text.String())
	if err := errors.Join(err1, err2, err3); err != nil {
		return err // figures of a run that failed are not for the document
	}
	if out == "" {
		return nil
	}
	return section.Write(out, "soak", text.String())
}

// noMoreThan checks that what was started has ended. What is ending now is given
// a moment.
func noMoreThan(before int) error {
	for range 100 {
		if goruntime.NumGoroutine() <= before {
			return nil
		}
		<-time.After(10 * time.Millisecond)
	}
	return fmt.Errorf("%d goroutines are left, %d were there before", goruntime.NumGoroutine(), before)
}
