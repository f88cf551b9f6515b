package main

import (
	"context"
	"time"

	"github.com/anyqueue/anyqueue/bench"
	"github.com/anyqueue/anyqueue/bench/rabbitmq"
)

// rabbitResults is what was measured of the RabbitMQ adapter.
type rabbitResults struct {
	settings
	product   string
	consumed  []rabbitCase[rabbitmq.Case]
	published []rabbitCase[rabbitmq.PublishCase]
	drained   *rabbitmq.Backlog
	took      time.Duration
}

// rabbitCase is one case: a series for each contender, index by index of the same
// rounds.
type rabbitCase[C any] struct {
	of     C
	names  []string
	series map[string]series
}

// collectRabbit measures the adapter on a server.
func collectRabbit(ctx context.Context, s settings, url string) (*rabbitResults, error) {
	server, err := rabbitmq.OpenServer(ctx, url)
	if err != nil {
		return nil, err
	}
	defer server.Close()
	release := bench.HoldHeap(s.heap)
	r := &rabbitResults{settings: s, product: server.Product()}
	start := time.Now()
	for i, c := range rabbitmq.Cases() {
		s.progress("RabbitMQ, consumers, %d of %d: %s\n", i+1, len(rabbitmq.Cases()), c)
		// About as many as a raw client consumes in that time.
		n := messages(s.per, float64(15*time.Microsecond))
		cr, err := rounds(s, c, rabbitmq.Consumers(), rabbitmq.Consumer.String, func(ct rabbitmq.Consumer) (bench.Sample, error) {
			return ct.Measure(ctx, server, c, n)
		})
		if err != nil {
			return nil, err
		}
		r.consumed = append(r.consumed, cr)
	}
	for i, c := range rabbitmq.PublishCases() {
		s.progress("RabbitMQ, publishers, %d of %d: %s\n", i+1, len(rabbitmq.PublishCases()), c)
		cr, err := rounds(s, c, rabbitmq.Publishers(), rabbitmq.Publisher.String, func(p rabbitmq.Publisher) (bench.Sample, error) {
			return p.Measure(ctx, server, c, s.per)
		})
		if err != nil {
			return nil, err
		}
		r.published = append(r.published, cr)
	}
	release()
	s.progress("RabbitMQ, a backlog of %d messages\n", s.backlog)
	if r.drained, err = rabbitmq.DrainBacklog(ctx, server, s.backlog); err != nil {
		return nil, err
	}
	r.took = time.Since(start)
	return r, nil
}

// rounds runs all contenders in turn, round after round, each round beginning with
// another one. The first round warms the server up and does not count.
func rounds[C, K any](s settings, c C, contenders []K, name func(K) string, run func(K) (bench.Sample, error)) (rabbitCase[C], error) {
	cr := rabbitCase[C]{of: c, series: make(map[string]series)}
	for _, ct := range contenders {
		cr.names = append(cr.names, name(ct))
	}
	for round := range s.rounds + 1 {
		for i := range contenders {
			ct := contenders[(i+round)%len(contenders)]
			sample, err := run(ct)
			if err != nil {
				return cr, err
			}
			if round > 0 {
				cr.series[name(ct)] = append(cr.series[name(ct)], sample)
			}
		}
	}
	return cr, nil
}
