package failure_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/anyqueue/anyqueue/failure"
)

func benchmarkErrors() map[string]error {
	plain := errors.New("order is cancelled")
	return map[string]error{
		"plain":   plain,
		"wrapped": fmt.Errorf("refund: %w", fmt.Errorf("charge: %w", plain)),
		"stated":  failure.Dependency(plain),
		"dial":    fmt.Errorf("charge: %w", &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}),
		"sql":     fmt.Errorf("charge: %w", sqlError("40001")),
		"mysql":   fmt.Errorf("charge: %w", &MySQLError{Number: 1213}),
		"grpc":    fmt.Errorf("charge: %w", &grpcError{&grpcStatus{14}}),
		"context": fmt.Errorf("charge: %w", context.DeadlineExceeded),
		"joined":  errors.Join(plain, plain, plain, plain),
	}
}

func BenchmarkClassify(b *testing.B) {
	for name, err := range benchmarkErrors() {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				failure.Classify(err)
			}
		})
	}
}

func BenchmarkFingerprint(b *testing.B) {
	err := fmt.Errorf("refund order 123456 of %q: payment 0f8fad5b-d9cb-469f-a165-70867728950e: %w", "a@b.example", sqlError("40001"))
	b.ReportAllocs()
	for b.Loop() {
		failure.Fingerprint(failure.ClassResource, err)
	}
}

func BenchmarkNext(b *testing.B) {
	err := fmt.Errorf("refund order 123456: %w", sqlError("40001"))
	var full *failure.Record
	for n := range 10 {
		full = failure.Next(full, failure.Observation{Err: err, Attempt: n + 1, At: noon})
	}
	for name, prev := range map[string]*failure.Record{"first": nil, "full": full} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				failure.Next(prev, failure.Observation{Err: err, Attempt: 11, At: noon, Source: "refunds"})
			}
		})
	}
}

func BenchmarkRecovered(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		recovered(func() { throws("boom") })
	}
}

func BenchmarkEncode(b *testing.B) {
	r := failure.Next(nil, failure.Observation{Err: recovered(func() { throws("boom") }), Attempt: 1, At: noon})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Encode(); err != nil {
			b.Fatal(err)
		}
	}
}
