package archtest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// A layer is a folder of the module with everything below it, and what it may
// import besides the standard library and itself. Test files may import what
// they like.
type layer struct {
	folder string
	// own are packages of this module, named exactly: to allow broker is not to
	// allow broker/brokertest.
	own []string
	// foreign are prefixes of other modules' packages.
	foreign []string
	// program: it may import anything; it is not part of the library.
	program bool
}

const (
	otelAPI  = "go.opentelemetry.io/otel"
	otelSDK  = "go.opentelemetry.io/otel/sdk"
	otelExpo = "go.opentelemetry.io/otel/exporters"
)

// layers is the architecture. Imports point down only: a package that is not
// listed is a fault, so that a new one is given its place here first. The most
// specific folder decides.
var layers = []layer{
	{folder: "failure"},
	{folder: "broker", own: []string{"failure"}, foreign: []string{"github.com/google/uuid"}},
	{folder: "broker/brokertest", own: []string{"broker", "failure"}},

	// Adapters: no policy, no other adapter.
	{folder: "memory", own: []string{"broker", "failure"}},
	{folder: "rabbit", own: []string{"broker", "failure"}, foreign: []string{"github.com/rabbitmq/amqp091-go"}},
	{folder: "sqs", own: []string{"broker", "failure"}, foreign: []string{"github.com/aws/aws-sdk-go-v2"}},
	{folder: "kafka", own: []string{"broker", "failure"}, foreign: []string{"github.com/twmb/franz-go"}},

	// Policy: no adapter.
	{folder: "telemetry", own: []string{"broker", "failure"}, foreign: []string{otelAPI}},
	{folder: "runtime", own: []string{"broker", "failure", "telemetry"}, foreign: []string{otelAPI}},
	{folder: "idempotency", own: []string{"broker", "failure"}},
	{
		folder:  "middleware",
		own:     []string{"broker", "failure", "idempotency", "runtime", "telemetry"},
		foreign: []string{otelAPI, "golang.org/x/time/rate"},
	},
	// Drivers are arguments of config: a program links only the clients it uses.
	{folder: "config", own: []string{"broker", "failure", "runtime"}, foreign: []string{"go.yaml.in/yaml/v4"}},

	{folder: "cmd", program: true},
	{folder: "examples", program: true},
	{folder: "internal/archtest"},
	{folder: "internal/docs", own: []string{"broker"}},
	{folder: "internal/faultlab"}, // for the adapters' tests
}

// listed is what the go command says of a package.
type listed struct {
	ImportPath string
	Standard   bool
	Imports    []string // direct, without those of tests
	Deps       []string // all, without those of tests
}

// Imports point down only: an adapter holds no policy, the runtime knows no
// broker, the contract knows neither, and the library never links an
// OpenTelemetry SDK.
func TestImportsPointDownOnly(t *testing.T) {
	sources(t)
	want(t, importFaults(layers, goList(t)), nil)
}

// Every kind of forbidden import is detected.
func TestForbiddenImportsAreDetected(t *testing.T) {
	const m = module + "/"
	tests := []struct {
		name     string
		from, to string
		fault    string // "" when it is allowed
	}{
		{"failure imports the contract", "failure", m + "broker", "must not import"},
		{"failure imports a module", "failure", "github.com/google/uuid", "must not import"},
		{"the contract imports the runtime", "broker", m + "runtime", "must not import"},
		{"the contract imports its test suite", "runtime", m + "broker/brokertest", "must not import"},
		{"an adapter imports the runtime", "memory", m + "runtime", "must not import"},
		{"a package below an adapter imports the runtime", "memory/internal/heap", m + "runtime", "must not import"},
		{"an adapter imports another", "rabbit", m + "memory", "must not import"},
		{"an adapter imports config", "sqs", m + "config", "must not import"},
		{"an adapter imports middleware", "kafka", m + "middleware", "must not import"},
		{"an adapter imports another's client", "memory", "github.com/twmb/franz-go/pkg/kgo", "must not import"},
		{"the suite imports the runtime", "broker/brokertest", m + "runtime", "must not import"},
		{"the runtime imports an adapter", "runtime", m + "memory", "must not import"},
		{"the runtime imports middleware", "runtime", m + "middleware", "must not import"},
		{"telemetry imports the runtime", "telemetry", m + "runtime", "must not import"},
		{"middleware imports an adapter", "middleware", m + "memory", "must not import"},
		{"the claim store imports the runtime", "idempotency", m + "runtime", "must not import"},
		{"config imports an adapter", "config", m + "memory", "must not import"},
		{"the library imports an OpenTelemetry SDK", "runtime", otelSDK + "/metric", "must not link"},
		{"the library imports an exporter", "telemetry", otelExpo + "/otlp", "must not link"},
		{"a package that has no place", "helpers", m + "broker", "has no layer"},
		{"a module whose name starts like an allowed one", "broker", "github.com/google/uuidx", "must not import"},

		{"the contract imports failure", "broker", m + "failure", ""},
		{"an adapter imports a package below itself", "memory", m + "memory/internal/heap", ""},
		{"the standard library", "failure", "net/http", ""},
		{"the OpenTelemetry API", "runtime", otelAPI + "/metric", ""},
		{"a program imports an SDK", "examples/refund", otelSDK + "/metric", ""},
		{"a program imports an adapter", "cmd/anyqueue", m + "memory", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			pkgs := []listed{
				{ImportPath: module + "/" + tt.from, Imports: []string{tt.to}, Deps: []string{tt.to}},
				{ImportPath: "net/http", Standard: true},
			}
			got := strings.Join(importFaults(layers, pkgs), "\n")
			if (tt.fault == "") != (got == "") || !strings.Contains(got, tt.fault) {
				t.Errorf("%s -> %s: faults %q, want one with %q", tt.from, tt.to, got, tt.fault)
			}
		})
	}
}

// An SDK that comes in through another module is linked all the same.
func TestIndirectSDKIsDetected(t *testing.T) {
	pkgs := []listed{{
		ImportPath: module + "/runtime",
		Imports:    []string{otelAPI + "/bridge"},
		Deps:       []string{otelAPI + "/bridge", otelSDK + "/metric"},
	}}
	want(t, importFaults(layers, pkgs), []string{
		"runtime must not link " + otelSDK + "/metric: a program chooses SDK and exporters, not the library",
	})
}

// importFaults applies the table to what go list said, dependencies included.
func importFaults(layers []layer, pkgs []listed) []string {
	standard := make(map[string]bool)
	for _, p := range pkgs {
		standard[p.ImportPath] = p.Standard
	}
	var faults []string
	for _, p := range pkgs {
		folder, own := strings.CutPrefix(p.ImportPath, module+"/")
		if !own {
			continue
		}
		l := layerOf(layers, folder)
		if l == nil {
			faults = append(faults, folder+" has no layer: give it its place in the table of internal/archtest")
			continue
		}
		if l.program {
			continue
		}
		for _, imp := range p.Imports {
			if !standard[imp] && !l.allows(imp) {
				faults = append(faults, fmt.Sprintf("%s must not import %s: layer %s may import %q and %q",
					folder, imp, l.folder, l.own, l.foreign))
			}
		}
		for _, dep := range p.Deps {
			if below(dep, otelSDK) || below(dep, otelExpo) {
				faults = append(faults, fmt.Sprintf("%s must not link %s: a program chooses SDK and exporters, not the library", folder, dep))
			}
		}
	}
	return faults
}

func (l *layer) allows(imp string) bool {
	if folder, own := strings.CutPrefix(imp, module+"/"); own {
		return below(folder, l.folder) || slices.Contains(l.own, folder)
	}
	return slices.ContainsFunc(l.foreign, func(f string) bool { return below(imp, f) })
}

// layerOf returns the most specific layer that holds the folder, nil if none does.
func layerOf(layers []layer, folder string) *layer {
	var best *layer
	for i, l := range layers {
		if below(folder, l.folder) && (best == nil || len(l.folder) > len(best.folder)) {
			best = &layers[i]
		}
	}
	return best
}

// below says whether path is prefix or lies below it.
func below(path, prefix string) bool {
	return path == prefix || strings.HasPrefix(path, prefix+"/")
}

// goList returns the packages of this module and all that they depend on.
func goList(t *testing.T) []listed {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "-json=ImportPath,Standard,Imports,Deps", "./...")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			t.Fatalf("go list: %v\n%s", err, exit.Stderr)
		}
		t.Fatalf("go list: %v", err)
	}
	var pkgs []listed
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		switch err := dec.Decode(&p); {
		case err == io.EOF:
			return pkgs
		case err != nil:
			t.Fatalf("decode the output of go list: %v", err)
		}
		pkgs = append(pkgs, p)
	}
}
