package house_test

import (
	"go/ast"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// configures are the types whose constructors a user chooses from.
var configures = []string{"Option", "TokenOption", "Source", "Verifier", "Key", "Target"}

var leadingName = regexp.MustCompile(`^\w+`)

// What no table names is found by nobody who has not read all of the reference.
func TestTablesNameEveryOption(t *testing.T) {
	named := map[string]bool{}
	for line := range strings.Lines(page(t, "README.md") + page(t, "docs/defaults.md")) {
		if !strings.HasPrefix(line, "|") {
			continue
		}
		for _, text := range quoted(line) {
			named[leadingName.FindString(text)] = true
		}
	}
	options := constructors(t, configures)
	if len(options) < 50 {
		t.Fatalf("only %d options are found: %q", len(options), options)
	}
	for _, name := range options {
		if !named[name] {
			t.Errorf("%s: in no table of README.md or docs/defaults.md", name)
		}
	}
}

// constructors are the exported functions of the root that give one of the types.
func constructors(t *testing.T, types []string) (names []string) {
	t.Helper()
	for _, f := range exportedFunctions(t) {
		if f.Type.Results.NumFields() != 1 {
			continue
		}
		if gives, ok := f.Type.Results.List[0].Type.(*ast.Ident); ok && slices.Contains(types, gives.Name) {
			names = append(names, f.Name.Name)
		}
	}
	return names
}

// exportedFunctions are those of the root: options, sources, verifiers, keys, targets, rates and the rest.
func exportedFunctions(t *testing.T) (functions []*ast.FuncDecl) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		for _, d := range parsed(t, filepath.Base(name)).Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.IsExported() {
				functions = append(functions, f)
			}
		}
	}
	return functions
}
