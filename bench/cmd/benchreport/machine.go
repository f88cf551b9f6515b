package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	goruntime "runtime"
	"runtime/debug"
	"strings"
	"time"
)

// machine is what a reader must know to judge the figures.
type machine struct {
	date, cpu, system, golang, commit, watermill, otel string
	cores                                              int
}

func thisMachine(ctx context.Context) machine {
	m := machine{
		date:   time.Now().UTC().Format(time.DateOnly),
		cpu:    cpuModel(),
		system: goruntime.GOOS + "/" + goruntime.GOARCH,
		golang: goruntime.Version(),
		commit: commit(ctx),
		cores:  goruntime.GOMAXPROCS(0),
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, dep := range info.Deps {
			switch dep.Path {
			case "github.com/ThreeDotsLabs/watermill":
				m.watermill = dep.Version
			case "go.opentelemetry.io/otel/sdk":
				m.otel = dep.Version
			}
		}
	}
	return m
}

func cpuModel() string {
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "unknown CPU" // not Linux
	}
	for line := range strings.Lines(string(info)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown CPU"
}

// commit names the code that was measured. It is asked of git: the module that is
// built is bench, and its build information may be switched off.
func commit(ctx context.Context) string {
	head, err := exec.CommandContext(ctx, "git", "rev-parse", "--short", "HEAD").Output()
	if err != nil {
		return "unknown commit"
	}
	name := "commit " + strings.TrimSpace(string(head))
	if changed, err := exec.CommandContext(ctx, "git", "status", "--porcelain", "--", "*.go").Output(); err == nil && len(changed) > 0 {
		name += " with changes that are not committed"
	}
	return name
}

func (m machine) String() string {
	return fmt.Sprintf("%s, %d cores, %s, %s; Watermill %s, OpenTelemetry SDK %s; %s; %s",
		m.cpu, m.cores, m.system, m.golang, m.watermill, m.otel, m.commit, m.date)
}
