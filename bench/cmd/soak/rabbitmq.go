package main

import (
	"context"
	"fmt"
	goruntime "runtime"
	"time"

	"github.com/anyqueue/anyqueue/bench/rabbitmq"
)

// drainRabbit drains a backlog of a RabbitMQ server.
func drainRabbit(ctx context.Context, url string, n int) (string, error) {
	s, err := rabbitmq.OpenServer(ctx, url)
	if err != nil {
		return "", err
	}
	defer s.Close()
	b, err := rabbitmq.DrainBacklog(ctx, s, n)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("## RabbitMQ: a backlog\n\nWritten by `make soak`: %s, %s/%s, %d cores, %s, %s.\n\n%s", s.Product(),
		goruntime.GOOS, goruntime.GOARCH, goruntime.GOMAXPROCS(0), goruntime.Version(), time.Now().UTC().Format(time.DateOnly), b), nil
}
