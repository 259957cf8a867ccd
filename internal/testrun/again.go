package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// mostAgain is how many tests may fail by bad luck. More are no luck.
const mostAgain = 5

// again runs the tests that failed once more, alone, and takes the second verdict where it is a better one. Everything at
// once on a small machine can make a real client, browser or proxy late; what fails alone too has failed, and what does
// not is named in the report, since somebody has to make it steady. There is no second run after a data race or a panic,
// for a test left out, one that never ended, or a package that does not build.
func (t *tally) again(module string) {
	functions := t.failedFunctions()
	count := 0
	for pkg, names := range functions {
		count += len(names)
		for _, name := range names {
			if !t.mayBeLuck(pkg, name) {
				return
			}
		}
	}
	if count > mostAgain || t.broken > 0 {
		return
	}
	for _, pkg := range slices.Sorted(maps.Keys(functions)) {
		names := functions[pkg]
		fmt.Printf("== go test %s: %s again, alone\n", pkg, strings.Join(names, ", "))
		second := goTest(module, "-count=1", "-run=^("+strings.Join(names, "|")+")$", pkg)
		if second.broken == 0 {
			t.replace(pkg, names, second)
		}
	}
}

// failedFunctions are the test functions in which something failed, by package.
func (t *tally) failedFunctions() map[string][]string {
	found := map[string][]string{}
	for pkg, tests := range t.packages {
		for name, test := range tests {
			if f := function(name); test.failed() && !slices.Contains(found[pkg], f) {
				found[pkg] = append(found[pkg], f)
			}
		}
		slices.Sort(found[pkg])
	}
	return found
}

// mayBeLuck reports whether all that failed within a test function failed by its own word.
func (t *tally) mayBeLuck(pkg, name string) bool {
	for at, test := range t.packages[pkg] {
		if function(at) != name || test.verdict == "pass" {
			continue
		}
		said := strings.Join(test.output, "")
		if test.verdict != "fail" || strings.Contains(said, "DATA RACE") || strings.Contains(said, "panic: ") || strings.Contains(said, "race detected") {
			return false
		}
	}
	return true
}

// replace takes the verdicts of a second run for these functions, and remembers which of them have changed.
func (t *tally) replace(pkg string, names []string, second *tally) {
	tests, retried := t.packages[pkg], second.packages[pkg]
	for _, name := range names {
		if first := retried[name]; first == nil || first.verdict != "pass" {
			continue
		}
		var failed []string
		for at, test := range tests {
			if function(at) != name {
				continue
			}
			if test.failed() {
				failed = append(failed, at)
			}
			delete(tests, at)
		}
		for at, test := range retried {
			if function(at) == name {
				tests[at] = test
			}
		}
		slices.Sort(failed)
		t.unsteady = append(t.unsteady, fmt.Sprintf("UNSTEADY %s %s: failed beside others, passed alone", pkg, strings.Join(failed, ", ")))
	}
}

// function is the test function that a test or subtest belongs to.
func function(test string) string {
	name, _, _ := strings.Cut(test, "/")
	return name
}
