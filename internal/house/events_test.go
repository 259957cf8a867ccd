package house_test

import (
	"go/ast"
	"go/token"
	"maps"
	"slices"
	"strconv"
	"testing"
)

// Whoever is woken by a line of the log finds what it means.
func TestOperationsNameEveryKindOfEvent(t *testing.T) {
	named := map[string]bool{}
	for _, cell := range labelled(t, "docs/operations.md", "kind") {
		for _, kind := range quoted(cell) {
			named[kind] = true
		}
	}
	kinds := constants(t, "event.go", "EventKind")
	if len(kinds) < 20 {
		t.Fatalf("only %d kinds are found: %q", len(kinds), kinds)
	}
	for _, kind := range kinds {
		if !named[kind] {
			t.Errorf("docs/operations.md does not say what %s is", kind)
		}
		delete(named, kind)
	}
	for _, kind := range slices.Sorted(maps.Keys(named)) {
		t.Errorf("docs/operations.md explains %s, which no event is called", kind)
	}
}

// constants are the values of a file's constants of one type.
func constants(t *testing.T, file, typ string) (values []string) {
	t.Helper()
	for _, d := range parsed(t, file).Decls {
		decl, ok := d.(*ast.GenDecl)
		if !ok || decl.Tok != token.CONST {
			continue
		}
		for _, s := range decl.Specs {
			spec := s.(*ast.ValueSpec)
			if name, ok := spec.Type.(*ast.Ident); !ok || name.Name != typ {
				continue
			}
			value, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			values = append(values, value)
		}
	}
	return values
}
