package config

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v4"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/memory"
	"github.com/anyqueue/anyqueue/rabbit"
)

var update = flag.Bool("update", false, "write the stored JSON Schema anew")

// drivers are those that the stored schema knows.
var drivers = []broker.Driver{memory.Driver, rabbit.Driver}

const schemaFile = "schema/anyqueue.schema.json"

// Rule: the stored schema is what the structs say now.
func TestStoredSchemaIsInStep(t *testing.T) {
	want, err := Schema(drivers...)
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(schemaFile, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	if got = bytes.ReplaceAll(got, []byte("\r\n"), []byte("\n")); !bytes.Equal(got, want) {
		t.Errorf("%s is out of step with the structs: run go test ./config -run StoredSchema -update", schemaFile)
	}
}

// compile returns a function that validates a YAML file against a schema.
func compile(t *testing.T, drivers ...broker.Driver) func(file string) error {
	t.Helper()
	b, err := Schema(drivers...)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("anyqueue.schema.json", doc); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("anyqueue.schema.json") // which checks it against the draft
	if err != nil {
		t.Fatal(err)
	}
	return func(file string) error {
		var content any
		if err := yaml.Load([]byte(file), &content); err != nil {
			return err
		}
		asJSON, err := json.Marshal(content)
		if err != nil {
			return err
		}
		instance, err := jsonschema.UnmarshalJSON(bytes.NewReader(asJSON))
		if err != nil {
			return err
		}
		return schema.Validate(instance)
	}
}

// Rule: an editor accepts what Parse accepts.
func TestSchemaAcceptsWhatParseAccepts(t *testing.T) {
	schema := compile(t, (&fake{}).driver(""), (&fake{}).driver("other"))
	for _, file := range []string{
		valid, valid + "consumer:\n", valid + "consumer: {}\n",
		valid + "consumer: {concurrency: 100000, ordering: key, max_in_flight_bytes: 64MiB, timeout: 1h30m, max_lease: 7d}\n",
		valid + "consumer: {max_in_flight_bytes: 1024, drain_timeout: -1s, max_abandoned: -1, timeout: 0s, stats_every: 1.5m}\n",
		valid + "consumer: {retry: {max_attempts: 8, backoff: {initial: 1s, max: 1m, factor: 1.5, jitter: -1}, classes: {bug: {max_attempts: 1}}}}\n",
		valid + "  lease: 30s\n  prefetch: 0\n  frame_max_bytes: 4 KiB\n  ratio: -0.5\n  durable: true\n  mode: quorum\n  hosts: [{name: a, port: -0}]\n" +
			"  labels: {a: b}\n  tls: {verify: true, key: x}\n  level: warn\n  vhost: /\n",
		"broker: fake\nqueue: ${Q}\nfake:\n  url: ${Q}\n  lease: ${D}\n  prefetch: ${N}\n  frame_max_bytes: ${N:-4KiB}\n  durable: ${B:?m}\n  ratio: ${N}\n" +
			"  mode: ${M:-quorum}\n  hosts: [{name: '${Q}', port: '${N}'}]\nconsumer: {ordering: '${K:-key}', timeout: '${D}', max_in_flight: '4${N}', retry: {backoff: {factor: '${N}'}}}\n",
		"broker: ${W:-other}\nqueue: q\nother: {url: x}\n",
	} {
		if _, err := Parse("w.yaml", []byte(file), env("Q", "q", "D", "9s", "N", "7", "B", "true"), (&fake{}).driver(""), (&fake{}).driver("other")); err != nil {
			t.Errorf("%v\n%s", err, file)
		} else if err := schema(file); err != nil {
			t.Errorf("%v\n%s", err, file)
		}
	}
}

// Rule: an editor shows the faults that a schema can tell: unknown keys, wrong
// types, missing units, words that are not allowed, and simple bounds.
func TestSchemaRefusesWhatParseRefuses(t *testing.T) {
	schema := compile(t, (&fake{}).driver(""), (&fake{}).driver("other"))
	for _, file := range []string{
		"{}", "- a", "broker: fake", "queue: q", "broker: fake\nqueue: ''\n", "broker: rabbitmq\nqueue: q\n", valid + "other: {url: x}\n",
		"broker: fake\nqueue: q\nfake: {}\n", "broker: fake\nqueue: q\nfake: {url: 1}\n", "broker: fake\nqueue: q\nfake: {url: ''}\n",
		valid + "zebra: 1\n", valid + "  zebra: 1\n", valid + "  hosts: x\n", valid + "  hosts: [{port: 1}]\n", valid + "  mode: none\n",
		valid + "  durable: 'yes'\n", valid + "  prefetch: -1\n", valid + "  prefetch: 1.5\n", valid + "  ratio: x\n", valid + "  tls: {verify: 1}\n", valid + "  labels: {a: 1}\n",
		valid + "consumer: 1\n", valid + "consumer: {zebra: 1}\n", valid + "consumer: {concurrency: 0}\n", valid + "consumer: {concurrency: '3'}\n",
		valid + "consumer: {concurrency: 100001}\n", valid + "consumer: {timeout: 30}\n", valid + "consumer: {timeout: '30'}\n", valid + "consumer: {timeout: -1s}\n",
		valid + "consumer: {timeout: 1 h}\n", valid + "consumer: {max_abandoned: 0}\n", valid + "consumer: {ordering: fifo}\n", valid + "consumer: {name: 1}\n",
		valid + "consumer: {max_in_flight_bytes: 64M}\n", valid + "consumer: {max_in_flight_bytes: 1.5}\n", valid + "consumer: {name: }\n",
		valid + "consumer: {retry: {backoff: {factor: 0.5}}}\n", valid + "consumer: {retry: {backoff: {jitter: 0}}}\n",
		valid + "consumer: {retry: {classes: {zebra: {}}}}\n", valid + "consumer: {retry: {classes: {bug: {zebra: 1}}}}\n",
	} {
		if _, err := Parse("w.yaml", []byte(file), env(), (&fake{}).driver(""), (&fake{}).driver("other")); err == nil {
			t.Errorf("Parse accepts\n%s", file)
		}
		if err := schema(file); err == nil {
			t.Errorf("the schema accepts\n%s", file)
		}
	}
}

// Rule: every key is described, so that an editor can explain it.
func TestSchemaDescribesEveryKey(t *testing.T) {
	b, err := os.ReadFile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	var root map[string]any
	if err := json.Unmarshal(b, &root); err != nil {
		t.Fatal(err)
	}
	var walk func(node map[string]any, path string) int
	walk = func(node map[string]any, path string) (keys int) {
		properties, _ := node["properties"].(map[string]any)
		for key, value := range properties {
			sub := value.(map[string]any)
			if text, _ := sub["description"].(string); text == "" && !strings.HasSuffix(path, ".classes") {
				t.Errorf("%s has no description", join(path, key))
			}
			keys += 1 + walk(sub, join(path, key))
		}
		return keys
	}
	if n := walk(root, ""); n < 30 {
		t.Errorf("only %d keys were looked at", n)
	}
}

// Rule: the sample files of this module are files that an editor and Load accept.
func TestSampleFilesAreValid(t *testing.T) {
	schema := compile(t, drivers...)
	samples, err := filepath.Glob("../examples/*/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, sample := range append(samples, "testdata/refunds.yaml") {
		b, err := os.ReadFile(sample)
		if err != nil {
			t.Fatal(err)
		}
		if err := schema(string(b)); err != nil {
			t.Errorf("%s: %v", sample, err)
		}
		if _, err := Load(sample, drivers...); err != nil {
			t.Error(err)
		}
	}
}
