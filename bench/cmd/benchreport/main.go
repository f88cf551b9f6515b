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
	if err := flags.Parse(args); err != nil {
		return err
	}
	if s.rounds < 1 || s.per <= 0 || s.heap < 0 {
		return fmt.Errorf("-rounds %d, -per %s, -heap %d: must be at least 1, above 0, at least 0", s.rounds, s.per, s.heap)
	}

	start := time.Now()
	r, err := collect(ctx, s)
	if err != nil {
		return err
	}
	r.took = time.Since(start)
	text := render(r, thisMachine(ctx))
	if err := section.Write(*out, "measured", text); err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "wrote %s\n", *out)
	return nil
}
