package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestTally(t *testing.T) {
	rows := []struct {
		name           string
		lines          []string
		passed, failed int
		prints         string
	}{
		{"one passes", []string{
			`{"Action":"run","Package":"p","Test":"TestA"}`,
			`{"Action":"output","Package":"p","Test":"TestA","Output":"quiet\n"}`,
			`{"Action":"pass","Package":"p","Test":"TestA"}`,
			`{"Action":"output","Package":"p","Output":"ok  \tp\t0.1s\n"}`,
			`{"Action":"pass","Package":"p"}`,
		}, 1, 0, "ok  \tp\t0.1s\n"},
		{"an attribute shows", []string{
			`{"Action":"run","Package":"p","Test":"TestA"}`,
			`{"Action":"attr","Package":"p","Test":"TestA","Key":"saw","Value":"101, echo"}`,
			`{"Action":"output","Package":"p","Test":"TestA","Output":"=== ATTR  TestA saw 101, echo\n"}`,
			`{"Action":"pass","Package":"p","Test":"TestA"}`,
			`{"Action":"pass","Package":"p"}`,
		}, 1, 0, "    TestA saw: 101, echo\n"},
		{"subtests count, their parent does not", []string{
			`{"Action":"run","Package":"p","Test":"TestA"}`,
			`{"Action":"run","Package":"p","Test":"TestA/one"}`,
			`{"Action":"run","Package":"p","Test":"TestA/two"}`,
			`{"Action":"run","Package":"p","Test":"TestA/two/deep"}`,
			`{"Action":"pass","Package":"p","Test":"TestA/two/deep"}`,
			`{"Action":"pass","Package":"p","Test":"TestA/two"}`,
			`{"Action":"pass","Package":"p","Test":"TestA/one"}`,
			`{"Action":"pass","Package":"p","Test":"TestA"}`,
			`{"Action":"pass","Package":"p"}`,
		}, 2, 0, ""},
		{"a failed subtest counts once", []string{
			`{"Action":"run","Package":"p","Test":"TestA"}`,
			`{"Action":"run","Package":"p","Test":"TestA/one"}`,
			`{"Action":"output","Package":"p","Test":"TestA/one","Output":"why\n"}`,
			`{"Action":"fail","Package":"p","Test":"TestA/one"}`,
			`{"Action":"fail","Package":"p","Test":"TestA"}`,
			`{"Action":"output","Package":"p","Output":"FAIL\tp\n"}`,
			`{"Action":"fail","Package":"p"}`,
		}, 0, 1, "why\nFAIL\tp\n"},
		{"a parent that fails by itself", []string{
			`{"Action":"run","Package":"p","Test":"TestA"}`,
			`{"Action":"run","Package":"p","Test":"TestA/one"}`,
			`{"Action":"pass","Package":"p","Test":"TestA/one"}`,
			`{"Action":"fail","Package":"p","Test":"TestA"}`,
			`{"Action":"fail","Package":"p"}`,
		}, 1, 1, ""},
		{"a test left out counts as failed", []string{
			`{"Action":"run","Package":"p","Test":"TestA"}`,
			`{"Action":"output","Package":"p","Test":"TestA","Output":"no browser here\n"}`,
			`{"Action":"skip","Package":"p","Test":"TestA"}`,
			`{"Action":"pass","Package":"p"}`,
		}, 0, 1, "no browser here\n"},
		{"a package without tests", []string{
			`{"Action":"output","Package":"p","Output":"?   \tp\t[no test files]\n"}`,
			`{"Action":"skip","Package":"p"}`,
		}, 0, 0, ""},
		{"a package that does not build", []string{
			`{"ImportPath":"p","Action":"build-output","Output":"p.go:1: wrong\n"}`,
			`{"ImportPath":"p","Action":"build-fail"}`,
			`{"Action":"output","Package":"p","Output":"FAIL\tp [build failed]\n"}`,
			`{"Action":"fail","Package":"p","FailedBuild":"p"}`,
		}, 0, 1, "p.go:1: wrong\nFAIL\tp [build failed]\n"},
		{"a package that dies after its tests", []string{
			`{"Action":"run","Package":"p","Test":"TestA"}`,
			`{"Action":"pass","Package":"p","Test":"TestA"}`,
			`{"Action":"output","Package":"p","Output":"goroutine 7 died\n"}`,
			`{"Action":"fail","Package":"p"}`,
		}, 1, 1, "goroutine 7 died\n"},
		{"a test that never ends", []string{
			`{"Action":"run","Package":"p","Test":"TestA"}`,
			`{"Action":"fail","Package":"p"}`,
		}, 0, 1, ""},
		{"same names in two packages", []string{
			`{"Action":"pass","Package":"p","Test":"TestA"}`,
			`{"Action":"fail","Package":"q","Test":"TestA"}`,
			`{"Action":"pass","Package":"p"}`,
			`{"Action":"fail","Package":"q"}`,
		}, 1, 1, ""},
		{"go itself speaks", []string{`go: cannot find main module`}, 0, 0, "go: cannot find main module\n"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			var c tally
			var printed strings.Builder
			c.read(strings.NewReader(strings.Join(row.lines, "\n")+"\n"), &printed)
			if passed, failed := c.sum(); passed != row.passed || failed != row.failed {
				t.Errorf("%d passed, %d failed, want %d and %d", passed, failed, row.passed, row.failed)
			}
			if printed.String() != row.prints {
				t.Errorf("printed %q, want %q", printed.String(), row.prints)
			}
		})
	}
}

func TestFindsModulesAndTheirFuzzTargets(t *testing.T) {
	enterTree(t, map[string]string{
		"go.mod":                           "module a\n",
		"a_test.go":                        "package a\n\nfunc FuzzRoot(f *testing.F) {}\n",
		"internal/x/x_test.go":             "package x\n\nfunc FuzzX(f *testing.F) {}\n\nfunc FuzzY(data *testing.F) {}\n\nfunc Fuzzy() {}\n",
		"sub/go.mod":                       "module b\n",
		"sub/deep/d_test.go":               "package deep\n\nfunc FuzzDeep(f *testing.F) {}\n",
		"sub/node_modules/n/go.mod":        "module c\n",
		"testdata/go.mod":                  "module d\n",
		".hidden/go.mod":                   "module e\n",
		"internal/x/testdata/fake_test.go": "package x\n\nfunc FuzzFake(f *testing.F) {}\n",
	})
	modules, err := findModules(".")
	if err != nil || !slices.Equal(modules, []string{".", "sub"}) {
		t.Fatalf("modules %q, error %v", modules, err)
	}
	var targets []fuzzTarget
	for _, m := range modules {
		found, err := findFuzzTargets(m, modules)
		if err != nil {
			t.Fatal(err)
		}
		targets = append(targets, found...)
	}
	want := []fuzzTarget{{".", ".", "FuzzRoot"}, {".", "internal/x", "FuzzX"}, {".", "internal/x", "FuzzY"}, {"sub", "deep", "FuzzDeep"}}
	if !slices.Equal(targets, want) {
		t.Errorf("targets %v, want %v", targets, want)
	}
	if _, err := findModules("internal"); err == nil {
		t.Error("a folder without go.mod is taken for the root")
	}
}

// enterTree makes files in a folder of the test, and enters it.
func enterTree(t *testing.T, files map[string]string) {
	t.Helper()
	t.Chdir(t.TempDir())
	for name, content := range files {
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
