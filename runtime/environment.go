package runtime

import (
	"context"
	"log/slog"
	"os"
	"runtime/debug"
	"sync"
)

// hostname is looked up once; "" when the system does not tell.
var hostname = sync.OnceValue(func() string {
	h, err := os.Hostname()
	if err != nil {
		return ""
	}
	return h
})

// buildVersion is the default of Options.CodeVersion.
var buildVersion = sync.OnceValue(func() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return s.Value
		}
	}
	return info.Main.Version
})

// warnUp passes records from level warn up: a library is silent by default.
type warnUp struct{ slog.Handler }

func (h *warnUp) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelWarn && h.Handler.Enabled(ctx, l)
}

func (h *warnUp) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &warnUp{h.Handler.WithAttrs(attrs)}
}

func (h *warnUp) WithGroup(name string) slog.Handler { return &warnUp{h.Handler.WithGroup(name)} }
