package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/runtime"
)

// File is a configuration that was read and found valid, by [Load] or [Parse]. It
// is connected to nothing yet, and may be opened several times.
type File struct {
	// Name is the name given to [Load] or [Parse].
	Name string
	// Broker is the name of the driver and Queue that of the queue.
	Broker string
	Queue  string
	// Options is what the consumer section says. What has no key in a file
	// (loggers, meters, middleware) may be set here or in [Worker].Options; what the
	// broker is told when it is opened (budget, ordering, timeout) only here.
	Options runtime.Options

	driver   broker.Driver
	settings any             // what driver.Settings returned, filled in
	said     runtime.Options // as the file says, to tell what code changed
	*places
}

// head is what stands in every file beside the broker's own section.
type head struct {
	Broker   string   `yaml:"broker" required:"true" doc:"The broker to use; the section of the same name holds its settings."`
	Queue    string   `yaml:"queue" required:"true" doc:"The queue or topic to consume and to publish to."`
	Consumer consumer `yaml:"consumer" doc:"How messages are consumed; the same on every broker."`
}

// Load reads the file at path and checks everything that can be known without a
// connection. What is wrong with it is returned as an [*Error] that names every
// fault; a file that cannot be read is the error of package os.
//
// drivers are the brokers that the file may choose from.
func Load(path string, drivers ...broker.Driver) (*File, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	return Parse(path, data, nil, drivers...)
}

// readFile reads one byte more than is allowed at most.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read from
	return io.ReadAll(io.LimitReader(f, maxFile+1))
}

// Parse is [Load] for a configuration that lies elsewhere. name stands in faults,
// and relative secret files are relative to its folder. lookup is where variables
// come from; nil means [os.LookupEnv].
func Parse(name string, data []byte, lookup func(string) (string, bool), drivers ...broker.Driver) (*File, error) {
	if err := checkDrivers(drivers); err != nil {
		return nil, err
	}
	if lookup == nil {
		lookup = os.LookupEnv
	}
	d := &decoder{
		lookup: lookup,
		dir:    filepath.Dir(name),
		places: &places{name: name, byPath: map[string]place{}},
	}
	root, fault := syntax(data)
	if fault != nil {
		d.report(*fault, "")
		return nil, d.err()
	}
	file := d.file(root, drivers)
	if err := d.err(); err != nil {
		return nil, err
	}
	return file, nil
}

// file decodes the whole tree.
func (d *decoder) file(root *yaml.Node, drivers []broker.Driver) *File {
	refuse(root, func(f Fault) { d.report(f, "") })
	d.byPath[""] = place{line: root.Line, column: root.Column}

	var h head
	known := rootFields(drivers)
	d.home = func(key string) (string, bool) { return home(known, key) }
	into := reflect.ValueOf(&h).Elem()
	type section struct{ key, value *yaml.Node }
	sections := map[string]section{}
	d.mapping(root, "", known, func(f field, key, value *yaml.Node) {
		if f.index == nil { // a driver's
			sections[f.key] = section{key, value}
			return
		}
		brokers := f.enum
		f.enum = nil // an unknown broker has a message of its own
		d.value(value, f.key, f, into.FieldByIndex(f.index))
		if f.key == "broker" && h.Broker != "" && !slices.Contains(brokers, h.Broker) {
			d.report(at(value, "%q is no broker of this program; write one of %s, or pass its driver to Open", clip(h.Broker), strings.Join(brokers, ", ")), f.key)
			h.Broker = "" // so that any broker's section is checked
		}
	})
	file := &File{Name: d.name, Broker: h.Broker, Queue: h.Queue, Options: h.Consumer.options(), places: d.places}
	file.said = file.Options
	d.blame(file.Options.Validate(), "consumer", reflect.TypeFor[consumer]())

	for _, driver := range drivers {
		name := driver.Name()
		found, given := sections[name]
		switch {
		case given && h.Broker != "" && name != h.Broker:
			d.report(at(found.key, "is the section of another broker: the file says broker: %s; remove the section, or change that line", h.Broker), name)
			continue
		case !given && name != h.Broker:
			continue
		case !given:
			found.value = &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null", Line: root.Line, Column: root.Column}
		}
		file.driver, file.settings = driver, driver.Settings()
		d.value(found.value, name, field{key: name}, reflect.ValueOf(file.settings).Elem())
		if v, ok := file.settings.(interface{ Validate() error }); ok {
			d.blame(v.Validate(), name, reflect.TypeOf(file.settings))
		}
	}
	return file
}

// rootFields are the keys of the whole file: those of head and one per driver.
func rootFields(drivers []broker.Driver) []field {
	known := fieldsOf(reflect.TypeFor[head]())
	for _, driver := range drivers {
		known[0].enum = append(known[0].enum, driver.Name())
	}
	for _, driver := range drivers {
		known = append(known, field{
			key: driver.Name(),
			typ: reflect.TypeOf(driver.Settings()).Elem(),
			doc: fmt.Sprintf("The settings of the broker %s.", driver.Name()),
		})
	}
	return known
}

// home returns the one section that knows a key which was found elsewhere.
func home(known []field, key string) (path string, ok bool) {
	var found []string
	var look func(known []field, path string)
	look = func(known []field, path string) {
		for _, f := range known {
			if f.key == key {
				found = append(found, path)
			}
			t := f.typ
			for t.Kind() == reflect.Pointer {
				t = t.Elem()
			}
			if kindOf(t) == kindStruct {
				look(fieldsOf(t), join(path, f.key))
			}
		}
	}
	look(known, "")
	switch {
	case len(found) == 0:
		return "", false
	case found[0] == "":
		return "the top of the file", true
	}
	return strings.Join(found, " or "), true
}

// checkDrivers returns what is wrong with the arguments, before any file is
// looked at: faults of the program.
func checkDrivers(drivers []broker.Driver) error {
	if len(drivers) == 0 {
		return &broker.FieldError{Field: "drivers", Problem: "are none; pass the drivers of the brokers that a file may name, such as memory.Driver"}
	}
	taken := names(fieldsOf(reflect.TypeFor[head]()))
	var errs []error
	for _, d := range drivers {
		name := d.Name()
		switch {
		case name == "":
			errs = append(errs, &broker.FieldError{Field: "drivers", Problem: "hold an empty one; make drivers with broker.NewDriver"})
			continue
		case slices.Contains(taken, name):
			errs = append(errs, &broker.FieldError{Field: "drivers", Value: name, Problem: "is the name of two drivers, or of a key that every file has; pass each driver once"})
			continue
		}
		taken = append(taken, name)
		settings := reflect.TypeOf(d.Settings())
		if settings.Kind() != reflect.Pointer || kindOf(settings) != kindStruct {
			errs = append(errs, &broker.FieldError{Field: "drivers", Value: name, Problem: fmt.Sprintf("has settings of type %s; they must be a struct", settings)})
			continue
		}
		if err := checkType(settings, settings.Elem().String()); err != nil {
			errs = append(errs, fmt.Errorf("config: the settings of driver %q do not fit a file: %w", name, err))
		}
	}
	return errors.Join(errs...)
}
