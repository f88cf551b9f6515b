package config

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/failure"
	"github.com/anyqueue/anyqueue/runtime"
)

// codeOnly are the fields of runtime.Options that no file can set: what is made
// by code.
var codeOnly = []string{"Middleware", "Logger", "Telemetry"}

// Rule: every option has a key in the consumer section or is one that only code
// can set. Whoever adds an option to runtime meets this test.
func TestEveryOptionHasAKeyOrIsCodeOnly(t *testing.T) {
	var compare func(options, section reflect.Type, path string)
	compare = func(options, section reflect.Type, path string) {
		for option := range options.Fields() {
			key, has := section.FieldByName(option.Name)
			if slices.Contains(codeOnly, path+option.Name) {
				if has {
					t.Errorf("%s%s is listed as code-only and has a key", path, option.Name)
				}
				continue
			}
			if !has {
				t.Errorf("runtime has the option %s%s: give it a key in the consumer section, or list it as code-only", path, option.Name)
				continue
			}
			switch a, b := option.Type, key.Type; {
			case a.Kind() == reflect.Map:
				compare(a.Elem(), b.Elem(), path+option.Name+"[].")
			case a.Kind() == reflect.Struct:
				compare(a, b, path+option.Name+".")
			case a != b:
				t.Errorf("%s%s is a %s in runtime and a %s in the file", path, option.Name, a, b)
			}
		}
		if section.NumField() > options.NumField() {
			t.Errorf("%s: the section has keys that are no options", section)
		}
	}
	compare(reflect.TypeFor[runtime.Options](), reflect.TypeFor[consumer](), "")
}

// leaves calls visit for each key of the consumer section that holds one value.
func leaves(t reflect.Type, path string, visit func(path string, f field)) {
	for _, f := range fieldsOf(t) {
		switch key := join(path, f.key); kindOf(f.typ) {
		case kindStruct:
			leaves(f.typ, key, visit)
		case kindMap:
			leaves(f.typ.Elem(), key+".timeout", visit)
		default:
			visit(key, f)
		}
	}
}

// nested writes a value at a path in flow style: a.b = 1 becomes {a: {b: 1}}.
func nested(path, value string) string {
	keys := strings.Split(path, ".")
	return "{" + strings.Join(keys, ": {") + ": " + value + strings.Repeat("}", len(keys))
}

// shown returns options as a text that is the same for equal ones.
func shown(o runtime.Options) string { return fmt.Sprintf("%+v", o) }

// sample returns a value that is not the default of a key.
func sample(f field) string {
	switch kindOf(f.typ) {
	case kindInt:
		return "41"
	case kindFloat:
		return "0.5"
	case kindDuration:
		return "77s"
	default:
		if f.enum != nil {
			return f.enum[len(f.enum)-1]
		}
		return "some-text"
	}
}

// Rule: no key is read and then ignored: each one changes its own option and no
// other.
func TestEveryKeyChangesItsOption(t *testing.T) {
	changed := map[string]string{} // what options became: by which key
	leaves(reflect.TypeFor[consumer](), "", func(path string, f field) {
		var c consumer
		d := &decoder{lookup: env(), places: &places{byPath: map[string]place{}}, home: func(string) (string, bool) { return "", false }}
		root, fault := syntax([]byte(nested(path, sample(f))))
		if fault != nil {
			t.Fatal(fault)
		}
		d.value(root, "", field{}, reflect.ValueOf(&c).Elem())
		if err := d.err(); err != nil {
			t.Errorf("%s: %v", path, err)
			return
		}
		o := shown(c.options())
		if o == shown(runtime.Options{}) {
			t.Errorf("%s changes no option", path)
		}
		if other, same := changed[o]; same {
			t.Errorf("%s does what %s does", path, other)
		}
		changed[o] = path
	})
	if len(changed) < 20 {
		t.Errorf("only %d keys were tried", len(changed))
	}
}

// Rule: the whole section arrives in the options, nested parts included.
func TestConsumerSectionBecomesOptions(t *testing.T) {
	f, _ := parse(t, valid+`
consumer:
  name: refunds
  code_version: v1.2.3
  concurrency: 16
  max_in_flight: 100
  max_in_flight_bytes: 1MiB
  ordering: key
  timeout: 10s
  max_lease: 30m
  max_abandoned: -1
  batch_size: 20
  batch_wait: -1s
  drain_timeout: 20s
  stop_timeout: 3s
  stall_after: 2m
  stats_every: -1s
  retry:
    max_attempts: 8
    max_elapsed: 7d
    max_hold: 5s
    backoff: {initial: 1s, max: 10m, factor: 1.5, jitter: -1}
    classes:
      dependency: {max_attempts: 7, backoff: {initial: 2s, max: 1h, factor: 3, jitter: 0.2}}
      bug: {max_attempts: 1}
`, env())
	want := runtime.Options{
		Name: "refunds", CodeVersion: "v1.2.3",
		Concurrency: 16, MaxInFlight: 100, MaxInFlightBytes: 1 << 20, Ordering: runtime.OrderKey,
		Timeout: 10 * time.Second, MaxLease: 30 * time.Minute, MaxAbandoned: -1,
		BatchSize: 20, BatchWait: -time.Second,
		DrainTimeout: 20 * time.Second, StopTimeout: 3 * time.Second, StallAfter: 2 * time.Minute, StatsEvery: -time.Second,
		Retry: runtime.RetryPolicy{
			MaxAttempts: 8, MaxElapsed: 7 * 24 * time.Hour, MaxHold: 5 * time.Second,
			Backoff: runtime.Backoff{Initial: time.Second, Max: 10 * time.Minute, Factor: 1.5, Jitter: -1},
			Classes: map[failure.Class]runtime.ClassPolicy{
				failure.ClassDependency: {MaxAttempts: 7, Backoff: runtime.Backoff{Initial: 2 * time.Second, Max: time.Hour, Factor: 3, Jitter: 0.2}},
				failure.ClassBug:        {MaxAttempts: 1},
			},
		},
	}
	if shown(f.Options) != shown(want) {
		t.Errorf("got  %+v\nwant %+v", f.Options, want)
	}
	f, _ = parse(t, valid, env())
	if shown(f.Options) != shown(runtime.Options{}) {
		t.Errorf("without a section: %+v", f.Options)
	}
}

// Rule: the words that the file accepts are those that runtime and failure know.
func TestAllowedWordsAreThoseOfTheCode(t *testing.T) {
	enum := func(typ reflect.Type, key string) []string {
		fields := fieldsOf(typ)
		return fields[slices.IndexFunc(fields, func(f field) bool { return f.key == key })].enum
	}
	var classes []string
	for _, c := range failure.Classes() {
		classes = append(classes, string(c))
	}
	if got := enum(reflect.TypeFor[retryPolicy](), "classes"); !slices.Equal(got, classes) {
		t.Errorf("classes: %v, want %v", got, classes)
	}
	if got, want := enum(reflect.TypeFor[consumer](), "ordering"), []string{string(runtime.OrderNone), string(runtime.OrderKey)}; !slices.Equal(got, want) {
		t.Errorf("ordering: %v, want %v", got, want)
	}
}

// Rule: the bounds that editors show are those that Validate enforces: it refuses
// what lies just outside and accepts the bound itself.
func TestBoundsInTheSchemaAreThoseOfValidate(t *testing.T) {
	tried := 0
	leaves(reflect.TypeFor[consumer](), "", func(path string, f field) {
		refused := func(value string) bool {
			// A class may not exceed the budget, and a batch not what is in flight.
			file := valid + "consumer: " + nested(path, value)
			if strings.Contains(path, ".classes.") {
				file = valid + "consumer: {retry: {max_attempts: 1000, classes: " + nested(strings.TrimPrefix(path, "retry.classes."), value) + "}}"
			} else if path == "max_in_flight" {
				file = valid + "consumer: {concurrency: 1, batch_size: 1, max_in_flight: " + value + "}"
			}
			_, err := Parse("w.yaml", []byte(file), env(), (&fake{}).driver(""))
			return err != nil
		}
		unit := ""
		if kindOf(f.typ) == kindDuration {
			unit = "s"
		}
		for bound, outside := range map[string]float64{f.min: -1, f.max: +1} {
			n, err := strconv.ParseFloat(bound, 64)
			if err != nil {
				continue
			}
			tried++
			if value := fmt.Sprintf("%v%s", n+outside, unit); !refused(value) {
				t.Errorf("%s: %s is accepted, outside of the bound %s", path, value, bound)
			}
			if value := bound + unit; (n != 0 || f.fallback == "") && refused(value) {
				t.Errorf("%s: %s is refused, although it is the bound", path, value)
			}
		}
		if f.negativeMeans != "" {
			if value := "-1" + unit; refused(value) {
				t.Errorf("%s: %s is refused, although it means: %s", path, value, f.negativeMeans)
			}
		}
	})
	if tried < 15 {
		t.Errorf("only %d bounds were tried", tried)
	}
}

// Rule: what Validate finds in the options is a fault at the key's value, or at
// the section around it when the key is not given, all at once.
func TestFaultsOfOptionsLeadToTheirKeys(t *testing.T) {
	_, err := Parse("w.yaml", []byte(valid+`consumer:
  concurrency: -3
  timeout: 2h
  drain_timeout: 1h
  retry:
    max_attempts: 1001
    backoff:
      initial: 1m
      max: 1s
    classes:
      bug: {backoff: {factor: 0.5}}
      resource: {max_attempts: -1}
`), env(), (&fake{}).driver(""))
	configErr, ok := errors.AsType[*Error](err)
	if !ok {
		t.Fatal(err)
	}
	var got []string
	for _, f := range configErr.Faults {
		got = append(got, fmt.Sprintf("%d:%d %s", f.Line, f.Column, f.Path))
	}
	for _, want := range []string{
		"6:16 consumer.concurrency", "7:12 consumer.timeout", "10:19 consumer.retry.max_attempts",
		"13:12 consumer.retry.backoff.max", "15:31 consumer.retry.classes.bug.backoff.factor",
		"16:32 consumer.retry.classes.resource.max_attempts",
	} {
		if !slices.Contains(got, want) {
			t.Errorf("%s is missing in\n%v", want, err)
		}
	}
	if len(got) != 6 {
		t.Errorf("%d faults:\n%v", len(got), err)
	}
	if fieldErr, ok := errors.AsType[*broker.FieldError](err); !ok || fieldErr.Field == "" {
		t.Error("errors.As does not reach the *broker.FieldError")
	}
}

// Rule: a key that has a fault already gets none from Validate, which saw another
// value there.
func TestKeyIsBlamedOnce(t *testing.T) {
	wantFaults(t, valid+"  hosts:\n  - {name: a, port: -1}\n  - {name: b, port: x}\n", env(),
		"6:21: fake.hosts[0].port: is -1: must not be negative",
		`7:21: fake.hosts[1].port: "x" is not a whole number; write decimal digits alone`)
	wantFaults(t, "broker: fake\nqueue: q\nfake: {}\n", env(),
		"3:7: fake.url: is missing; add the key here. Where the broker is, with credentials.")
}
