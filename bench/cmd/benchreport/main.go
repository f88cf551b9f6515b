// Command benchreport measures everything in package bench and writes it as
// tables into a Markdown file. `make bench` runs it.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"time"

	"github.com/anyqueue/anyqueue/bench"
	"github.com/anyqueue/anyqueue/bench/internal/section"
	"github.com/anyqueue/anyqueue/bench/rabbitmq"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "benchreport:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	s := settings{cases: bench.Cases(), progress: func(format string, args ...any) {
		fmt.Fprintf(os.Stderr, format, args...)
	}}
	flags := flag.NewFlagSet("benchreport", flag.ContinueOnError)
	out := flags.String("out", "benchmarks.md", "file whose section of measurements is written anew")
	flags.IntVar(&s.rounds, "rounds", 7, "rounds; every contender runs once in each")
	flags.DurationVar(&s.per, "per", 250*time.Millisecond, "how long one run lasts, about")
	flags.IntVar(&s.heap, "heap", 64, "live heap that is held meanwhile, in MiB")
	only := flags.String("only", "", "memory or rabbitmq: measure that alone")
	url := flags.String("rabbitmq", os.Getenv(rabbitmq.Variable), "address of the RabbitMQ server; default $"+rabbitmq.Variable)
	flags.IntVar(&s.backlog, "backlog", 100_000, "messages that are drained from RabbitMQ; make soak drains ten times as many")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if s.rounds < 1 || s.per <= 0 || s.heap < 0 || s.backlog < 1 {
		return fmt.Errorf("-rounds %d, -per %s, -heap %d, -backlog %d: must be at least 1, above 0, at least 0, at least 1", s.rounds, s.per, s.heap, s.backlog)
	}
	if *only != "" && *only != "memory" && *only != "rabbitmq" {
		return fmt.Errorf("-only %s: must be memory or rabbitmq", *only)
	}

	m := thisMachine(ctx)
	if *only != "rabbitmq" {
		start := time.Now()
		r, err := collect(ctx, s)
		if err != nil {
			return err
		}
		r.took = time.Since(start)
		if err := section.Write(*out, "measured", render(r, m)); err != nil {
			return err
		}
	}
	switch {
	case *only == "memory":
	case *url == "":
		s.progress("SKIPPED, and its section left as it is: %s\n", rabbitmq.NoServer)
	default:
		r, err := collectRabbit(ctx, s, *url)
		if err != nil {
			return err
		}
		if err := section.Write(*out, "rabbitmq", renderRabbit(r, m)); err != nil {
			return err
		}
	}
	fmt.Fprintf(os.Stderr, "wrote %s\n", *out)
	return nil
}
