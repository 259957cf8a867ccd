package house_test

import (
	"go/ast"
	"path/filepath"
	"strings"
	"testing"
)

// What an option is for is seen in an Example that runs, or at least compiles: its name in a sentence shows nothing.
func TestExamplesNameEveryFunction(t *testing.T) {
	shown := map[string]bool{}
	files, err := filepath.Glob(filepath.Join(root, "example*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		for _, d := range parsed(t, filepath.Base(name)).Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && strings.HasPrefix(f.Name.Name, "Example") {
				for _, used := range selected(f, "wssecure") {
					shown[used] = true
				}
			}
		}
	}
	functions := exportedFunctions(t)
	if len(functions) < 80 {
		t.Fatalf("only %d functions are found", len(functions))
	}
	for _, f := range functions {
		if !shown[f.Name.Name] {
			t.Errorf("%s: in no Example of the package", f.Name.Name)
		}
	}
}

// selected are the names that n uses of a package.
func selected(n ast.Node, pkg string) (names []string) {
	ast.Inspect(n, func(n ast.Node) bool {
		s, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if x, ok := s.X.(*ast.Ident); ok && x.Name == pkg {
			names = append(names, s.Sel.Name)
		}
		return true
	})
	return names
}
