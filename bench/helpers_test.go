package bench

import (
	"context"
	"time"
)

func contextAfter(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, 50*time.Millisecond)
}
