// Command testrun is what `make test` runs: the linters, the tests of the root module and of every module nested in the
// tree, and each fuzz target for some thousand inputs. It says what ran, and ends with one line "N passed, N failed".
//
// A test that skips itself counts as failed: here nothing may be missing.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

const staticcheck = "honnef.co/go/tools/cmd/staticcheck@v0.8.2"

func main() {
	only := flag.String("only", "lint,test,fuzz", "what to run, of lint, test and fuzz")
	fuzzTime := flag.String("fuzztime", "10000x", "how long each fuzz target runs, as go test -fuzztime takes it: inputs (10000x) or time (60s)")
	flag.Parse()

	modules, err := findModules(".")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	r := &run{}
	steps := map[string]func(){
		"lint": func() { r.lint(modules) },
		"test": func() { r.test(modules) },
		"fuzz": func() { r.fuzz(modules, *fuzzTime) },
	}
	for _, step := range strings.Split(*only, ",") {
		f, known := steps[step]
		if !known {
			fmt.Fprintf(os.Stderr, "-only: %q is no step; name lint, test or fuzz\n", step)
			os.Exit(2)
		}
		f()
	}
	for _, why := range r.failures { // once more, where a reader looks first: at the end
		fmt.Printf("\n%s", why)
	}
	fmt.Printf("\n%s\n%d passed, %d failed\n", strings.Join(r.report, "\n"), r.passed, r.failed)
	if r.failed > 0 {
		os.Exit(1)
	}
}

// run adds up what the steps find.
type run struct {
	report         []string
	failures       []string
	passed, failed int
}

func (r *run) lint(modules []string) {
	r.check("gofmt", ".", "gofmt", "-l", ".")
	for _, m := range modules {
		r.check("go vet", m, "go", "vet", "./...")
		r.check("staticcheck", m, "go", "run", staticcheck, "./...")
	}
}

// check runs a linter, which must end well and print nothing on its standard output.
func (r *run) check(name, dir string, command ...string) {
	title := name + " " + moduleName(dir)
	fmt.Println("==", title)
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Dir = dir
	cmd.Stderr = os.Stderr
	findings, err := cmd.Output()
	if err == nil && len(findings) == 0 {
		r.report = append(r.report, title+": clean")
		return
	}
	fmt.Printf("%s", findings)
	if err != nil {
		fmt.Println(err)
	}
	r.report = append(r.report, title+": FAILED")
	r.failed++
}

func (r *run) test(modules []string) {
	for _, m := range modules {
		fmt.Println("== go test", moduleName(m))
		t := goTest(m, "-shuffle=on", "./...")
		t.again(m)
		passed, failed := t.sum()
		r.report = append(r.report, fmt.Sprintf("tests %s: %d passed, %d failed", moduleName(m), passed, failed))
		r.report = append(r.report, t.unsteady...)
		r.failures = append(r.failures, t.failures()...)
		r.passed += passed
		r.failed += failed
	}
}

// goTest runs tests of a module and adds them up.
func goTest(module string, args ...string) *tally {
	cmd := exec.Command("go", append([]string{"test", "-race", "-timeout=15m", "-json"}, args...)...)
	cmd.Dir = module
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	t := &tally{}
	if err == nil {
		t.read(out, os.Stdout)
		err = cmd.Wait()
	}
	if _, failed := t.sum(); err != nil && failed == 0 {
		fmt.Println("go test", moduleName(module)+":", err) // go itself could not do it, as with a broken go.mod
		t.broken++
	}
	return t
}

// fuzz runs every target of every module, the seeds having been run as tests already. The default is a number of inputs:
// at the end of a time go reports, now and then, its own deadline as a failure of the target (golang/go#75804).
func (r *run) fuzz(modules []string, each string) {
	var targets []fuzzTarget
	for _, m := range modules {
		found, err := findFuzzTargets(m, modules)
		if err != nil {
			fmt.Println(err)
			r.failed++
		}
		targets = append(targets, found...)
	}
	passed, failed := 0, 0
	for _, target := range targets {
		fmt.Printf("== fuzz %s %s for %s\n", filepath.Join(target.module, target.folder), target.name, each)
		// go would spend up to a minute on making one interesting input smaller, and that minute counts as fuzzing.
		cmd := exec.Command("go", "test", "-run=^$", "-fuzz=^"+target.name+"$", "-fuzztime="+each, "-fuzzminimizetime=20x",
			"./"+filepath.ToSlash(target.folder))
		cmd.Dir = target.module
		if out, err := cmd.CombinedOutput(); err != nil {
			fmt.Printf("%s%v\n", out, err)
			failed++
			continue
		}
		passed++
	}
	r.report = append(r.report, fmt.Sprintf("fuzz targets, %s each: %d passed, %d failed", each, passed, failed))
	r.passed += passed
	r.failed += failed
}

// findModules gives the folders with a go.mod, the root first.
func findModules(root string) ([]string, error) {
	var modules []string
	err := walk(root, func(path string) error {
		if filepath.Base(path) == "go.mod" {
			modules = append(modules, filepath.Dir(path))
		}
		return nil
	})
	slices.Sort(modules)
	if err == nil && !slices.Contains(modules, root) {
		err = errors.New("no go.mod here; run it at the root of the tree")
	}
	return modules, err
}

type fuzzTarget struct{ module, folder, name string }

var fuzzFunc = regexp.MustCompile(`(?m)^func (Fuzz\w*)\(\w+ \*testing\.F\)`)

func findFuzzTargets(module string, modules []string) ([]fuzzTarget, error) {
	var targets []fuzzTarget
	err := walk(module, func(path string) error {
		if !strings.HasSuffix(path, "_test.go") || owner(path, modules) != module {
			return nil
		}
		source, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		folder, err := filepath.Rel(module, filepath.Dir(path))
		if err != nil {
			return err
		}
		for _, m := range fuzzFunc.FindAllSubmatch(source, -1) {
			targets = append(targets, fuzzTarget{module, folder, string(m[1])})
		}
		return nil
	})
	return targets, err
}

// owner is the innermost module that a path lies in.
func owner(path string, modules []string) string {
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		if slices.Contains(modules, dir) || dir == filepath.Dir(dir) {
			return dir
		}
	}
}

// walk visits the files that go's own ./... would look at.
func walk(root string, visit func(path string) error) error {
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if !d.IsDir() {
			return visit(path)
		}
		name := d.Name()
		if path != root && (name == "testdata" || name == "node_modules" || name[0] == '.' || name[0] == '_') {
			return filepath.SkipDir
		}
		return nil
	})
}

func moduleName(dir string) string {
	if dir == "." {
		return "(root)"
	}
	return filepath.ToSlash(dir)
}
