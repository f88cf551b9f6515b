package brokertest

import (
	"maps"
	"slices"
	"testing"
)

// mutant is a broken adapter: the in-memory broker with one fault.
type mutant struct {
	// name says what it does wrong.
	name string
	// fails names the cases that must notice; others may.
	fails []string
	// with is what the in-memory broker below it can do.
	with memoryOptions
	// tamper puts the fault into one queue.
	tamper func(b *bench)
}

func mutants() []mutant {
	return slices.Concat(settleMutants(), deliveryMutants(), leaseMutants(), contentMutants(), callMutants(), claimMutants())
}

// Each broken adapter fails the cases that its fault concerns, and the rest of
// the suite runs all the same.
func TestEveryMutantIsCaught(t *testing.T) {
	for _, m := range mutants() {
		t.Run(m.name, func(t *testing.T) {
			if !m.alone() {
				t.Parallel()
			}
			m.check(t)
		})
	}
}

// No case is one that cannot fail: each is named by a mutant.
func TestEveryCaseIsProvedByAMutant(t *testing.T) {
	named := make(map[string]bool)
	for _, m := range mutants() {
		for _, name := range m.fails {
			named[name] = true
		}
	}
	for _, g := range groups() {
		for _, c := range g.cases {
			if name := g.name + "/" + c.name; !named[name] {
				t.Errorf("no mutant names case %s: add one that it must notice", name)
			}
		}
	}
}

// alone says whether a case that looks at the whole process must notice m.
func (m mutant) alone() bool {
	for _, g := range groups() {
		for _, c := range g.cases {
			if c.alone && slices.Contains(m.fails, g.name+"/"+c.name) {
				return true
			}
		}
	}
	return false
}

// leastPassed is how many cases pass against any mutant: so narrow is its fault.
const leastPassed = 20

// check runs the whole suite against the mutant (with -short the cases that must
// notice) and returns those that failed.
func (m mutant) check(t *testing.T) []string {
	h := tamperedHarness(m.with, m.tamper).withDefaults()
	words := make(map[string]string)
	details := make(map[string]string)
	count := make(map[string]int)
	for _, g := range groups() {
		for _, c := range g.cases {
			name := g.name + "/" + c.name
			if c.alone && !m.alone() || testing.Short() && !slices.Contains(m.fails, name) {
				continue
			}
			word, detail := observe(t, h, g.name, c).result()
			words[name], details[name] = word, detail
			count[word]++
			if word == "failed" {
				t.Logf("%s: %s", name, detail)
			}
		}
	}
	for _, name := range m.fails {
		if word, ok := words[name]; !ok {
			t.Errorf("there is no case %s", name)
		} else if word != "failed" {
			t.Errorf("case %s %s (%s), it must fail for an adapter that %s", name, word, details[name], m.name)
		}
	}
	if count["passed"] < leastPassed && !testing.Short() {
		t.Errorf("%d cases failed and only %d passed: a fault that breaks nearly everything shows nothing about single cases",
			count["failed"], count["passed"])
	}
	var failed []string
	for _, name := range slices.Sorted(maps.Keys(words)) {
		if words[name] == "failed" {
			failed = append(failed, name)
		}
	}
	return failed
}

// An adapter that is wrapped but not broken passes: what fails a mutant is its
// fault, not the wrapping.
func TestATamperedHarnessWithoutAFaultPasses(t *testing.T) {
	m := mutant{name: "does nothing wrong", tamper: together(
		settlements(nothing), deliveries(nothing), deadLettersRead(nothing), claims(nothing), copies(nothing),
		settleErrors(func(err error, _ int) error { return err }),
	)}
	if failed := m.check(t); len(failed) > 0 {
		t.Errorf("these cases failed: %q", failed)
	}
}

func nothing[T any](*T) {}

// Names are what people search for: no two cases and no two mutants share one.
func TestNamesAreUnique(t *testing.T) {
	seen := make(map[string]bool)
	unique := func(name string) {
		if seen[name] {
			t.Errorf("%q is used twice", name)
		}
		seen[name] = true
	}
	for _, g := range groups() {
		for _, c := range g.cases {
			unique(g.name + "/" + c.name)
		}
	}
	for _, m := range mutants() {
		unique(m.name)
	}
}
