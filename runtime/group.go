package runtime

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// Run runs several consumers as one: when one of them ends with an error the
// others are shut down too. It returns when all have ended, with all errors
// joined; nil when ctx ended and every consumer drained cleanly.
func Run(ctx context.Context, consumers ...*Consumer) error {
	if len(consumers) == 0 {
		return errors.New("runtime: Run needs at least one consumer")
	}
	for i, c := range consumers {
		if c == nil {
			return fmt.Errorf("runtime: consumer %d of Run is nil; check the error of New", i)
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	errs := make([]error, len(consumers))
	var wg sync.WaitGroup
	for i, c := range consumers {
		wg.Go(func() {
			defer cancel() // one that ended for whatever reason ends all
			errs[i] = c.Run(ctx)
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// RunUntilSignal is [Run] for a program's main: SIGINT or SIGTERM begins the
// shutdown, and a second one cuts DrainTimeout short: running handlers are
// cancelled at once.
func RunUntilSignal(ctx context.Context, consumers ...*Consumer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)
	return runUntil(ctx, cancel, signals, consumers)
}

func runUntil(ctx context.Context, cancel context.CancelFunc, signals <-chan os.Signal, consumers []*Consumer) error {
	ended := make(chan struct{})
	var watcher sync.WaitGroup
	watcher.Go(func() {
		for count := 0; ; count++ {
			select {
			case <-ended:
				return
			case <-signals:
			}
			if count == 0 {
				cancel()
				continue
			}
			for _, c := range consumers {
				c.cutShort() // running handlers are cancelled now
			}
		}
	})
	err := Run(ctx, consumers...)
	close(ended)
	watcher.Wait()
	return err
}
