package main

import (
	"slices"
	"testing"
)

// A test may be tried again, alone, where it failed by its own word, and only then.
func TestAgain(t *testing.T) {
	const onlyFirst = `
func first(t *testing.T) bool {
	name := strings.ReplaceAll(t.Name(), "/", "_") + ".ran"
	_, err := os.Stat(name)
	os.WriteFile(name, nil, 0o600)
	return err != nil
}
`
	enterTree(t, map[string]string{
		"go.mod": "module example\n\ngo 1.26\n",
		"late/late_test.go": `package late

import ("os"; "strings"; "testing")
` + onlyFirst + `
func TestLate(t *testing.T) {
	t.Run("sub", func(t *testing.T) { if first(t) { t.Error("too late") } })
	t.Run("other", func(t *testing.T) {})
}
func TestFine(t *testing.T) { if !first(t) { t.Error("nobody asked for this one again") } }
`,
		"wrong/wrong_test.go": `package wrong

import "testing"

func TestWrong(t *testing.T) { t.Error("as ever") }
`,
		"left/left_test.go": `package left

import ("os"; "strings"; "testing")
` + onlyFirst + `
func TestLeft(t *testing.T) { if first(t) { t.Skip("nothing here") } }
`,
		"race/race_test.go": `package race

import ("os"; "strings"; "testing")
` + onlyFirst + `
func TestRace(t *testing.T) {
	if !first(t) { return }
	n, done := 0, make(chan bool)
	go func() { n++; close(done) }()
	n++
	<-done
	_ = n
}
`,
		"dies/dies_test.go": `package dies

import ("os"; "strings"; "testing")
` + onlyFirst + `
func TestDies(t *testing.T) { if first(t) { panic("dead") } }
`,
		"many/many_test.go": `package many

import ("os"; "strings"; "testing")
` + onlyFirst + `
func TestA(t *testing.T) { if first(t) { t.Error("late") } }
func TestB(t *testing.T) { if first(t) { t.Error("late") } }
func TestC(t *testing.T) { if first(t) { t.Error("late") } }
func TestD(t *testing.T) { if first(t) { t.Error("late") } }
func TestE(t *testing.T) { if first(t) { t.Error("late") } }
func TestF(t *testing.T) { if first(t) { t.Error("late") } }
`,
	})
	for _, row := range []struct {
		pkg            string
		passed, failed int
		unsteady       []string
	}{
		{"late", 3, 0, []string{"UNSTEADY example/late TestLate/sub: failed beside others, passed alone"}},
		{"wrong", 0, 1, nil},
		{"left", 0, 1, nil},
		{"race", 0, 1, nil},
		{"dies", 0, 1, nil},
		{"many", 0, 6, nil},
	} {
		t.Run(row.pkg, func(t *testing.T) {
			tally := goTest(".", "./"+row.pkg)
			tally.again(".")
			if passed, failed := tally.sum(); passed != row.passed || failed != row.failed {
				t.Errorf("%d passed, %d failed, want %d and %d", passed, failed, row.passed, row.failed)
			}
			if !slices.Equal(tally.unsteady, row.unsteady) {
				t.Errorf("unsteady: %q, want %q", tally.unsteady, row.unsteady)
			}
			if got := len(tally.failures()); got != row.failed {
				t.Errorf("%d failures are told at the end, want %d", got, row.failed)
			}
		})
	}
}
