package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// tally counts the tests of one `go test -json`. A test with subtests counts through them, unless it failed by itself; a
// package that fails without a failing test, as one that does not build, counts as one failure.
type tally struct {
	packages map[string]map[string]*test
	broken   int
	unsteady []string // what a second run has cleared, for the report
}

type test struct {
	verdict string
	parent  bool // has subtests
	guilty  bool // a subtest failed, so its own failure is no other
	output  []string
}

// failed reports that a test failed, was left out, or never came to its end, and not only through a subtest.
func (t *test) failed() bool { return t.verdict != "pass" && !t.guilty }

// event is a line of `go test -json`.
type event struct {
	Action, Package, ImportPath, Test, Output string
	Key, Value                                string // of an attribute
}

// read takes the events and prints what an operator wants of them: the outcome of each package, the attributes that tests
// give themselves with t.Attr, and all that a failed or left-out test printed.
func (t *tally) read(from io.Reader, to io.Writer) {
	t.packages = make(map[string]map[string]*test)
	outputs := make(map[string][]string) // what a package printed outside of its tests
	lines := bufio.NewReader(from)
	for {
		line, err := lines.ReadString('\n')
		if line != "" {
			var e event
			if json.Unmarshal([]byte(line), &e) != nil {
				fmt.Fprint(to, line) // go itself speaks, not a test
			} else {
				t.add(e, outputs, to)
			}
		}
		if err != nil {
			return
		}
	}
}

func (t *tally) add(e event, outputs map[string][]string, to io.Writer) {
	if e.Action == "build-output" {
		fmt.Fprint(to, e.Output)
		return
	}
	if e.Package == "" {
		return
	}
	if e.Test == "" {
		t.addPackage(e, outputs, to)
		return
	}
	tests := t.packages[e.Package]
	if tests == nil {
		tests = make(map[string]*test)
		t.packages[e.Package] = tests
	}
	at := tests[e.Test]
	if at == nil {
		at = &test{}
		tests[e.Test] = at
		for name := range parents(e.Test) {
			if p := tests[name]; p != nil {
				p.parent = true
			}
		}
	}
	switch e.Action {
	case "output":
		at.output = append(at.output, e.Output)
	case "attr":
		fmt.Fprintf(to, "    %s %s: %s\n", e.Test, e.Key, e.Value)
	case "pass", "fail", "skip":
		at.verdict = e.Action
		if e.Action != "pass" {
			for _, line := range at.output {
				fmt.Fprint(to, line)
			}
			for name := range parents(e.Test) {
				if p := tests[name]; p != nil {
					p.guilty = true
				}
			}
			return // what it printed is kept
		}
		at.output = nil
	}
}

func (t *tally) addPackage(e event, outputs map[string][]string, to io.Writer) {
	switch e.Action {
	case "output":
		outputs[e.Package] = append(outputs[e.Package], e.Output)
	case "pass", "fail", "skip":
		for _, line := range outputs[e.Package] {
			if e.Action == "fail" || strings.HasPrefix(line, "ok ") {
				fmt.Fprint(to, line)
			}
		}
		if e.Action == "fail" && !t.explained(e.Package) {
			t.broken++
		}
	}
}

// explained reports whether a test of that package tells why it failed.
func (t *tally) explained(pkg string) bool {
	for _, test := range t.packages[pkg] {
		if test.verdict != "pass" {
			return true
		}
	}
	return false
}

func (t *tally) sum() (passed, failed int) {
	failed = t.broken
	for _, tests := range t.packages {
		for _, test := range tests {
			switch {
			case test.verdict == "pass" && !test.parent:
				passed++
			case test.failed():
				failed++
			}
		}
	}
	return passed, failed
}

// longestFailure bounds what is shown of one failed test at the end.
const longestFailure = 3000

// failures are the tests that failed, each with the end of what it printed.
func (t *tally) failures() (found []string) {
	for _, pkg := range slices.Sorted(maps.Keys(t.packages)) {
		tests := t.packages[pkg]
		for _, name := range slices.Sorted(maps.Keys(tests)) {
			if test := tests[name]; test.failed() {
				said := strings.Join(test.output, "")
				found = append(found, fmt.Sprintf("%s %s\n%s", pkg, name, said[max(0, len(said)-longestFailure):]))
			}
		}
	}
	return found
}

// parents gives the names of the tests that a subtest belongs to.
func parents(name string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for i := strings.LastIndexByte(name, '/'); i > 0; i = strings.LastIndexByte(name[:i], '/') {
			if !yield(name[:i]) {
				return
			}
		}
	}
}
