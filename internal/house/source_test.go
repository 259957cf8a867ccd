package house_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// This file reads the sources of all modules: which tests there are with which rows, and what packages offer.

// A namedTest is a test and where rows of its may stand.
type namedTest struct {
	file    string
	strings []string // of its own, and of what the file shares among its tests
	all     []string // of the whole file: where its tables are
}

// testsOfTree finds the tests of all modules by directory and name.
func testsOfTree(t *testing.T) map[string]*namedTest {
	t.Helper()
	tests := map[string]*namedTest{}
	walk(t, func(name string) {
		if !strings.HasSuffix(name, "_test.go") {
			return
		}
		file := parsed(t, name)
		var shared []string
		own := map[string][]string{}
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && testName.MatchString(f.Name.Name) {
				own[f.Name.Name] = literals(f)
			} else {
				shared = append(shared, literals(d)...)
			}
		}
		all := append(literals(file), embedded(file)...)
		for test, strings := range own {
			tests[path.Join(path.Dir(name), test)] = &namedTest{file: name, strings: append(strings, shared...), all: all}
		}
	})
	return tests
}

func literals(n ast.Node) (all []string) {
	ast.Inspect(n, func(n ast.Node) bool {
		if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
			text, _ := strconv.Unquote(lit.Value)
			all = append(all, text)
		}
		return true
	})
	return all
}

// embedded are the files that a comment names.
func embedded(file *ast.File) (all []string) {
	for _, group := range file.Comments {
		for _, c := range group.List {
			if name, ok := strings.CutPrefix(c.Text, "//go:embed "); ok {
				all = append(all, name)
			}
		}
	}
	return all
}

// hasRow reports whether the test, or a table that its file names, has the row: as a whole word, since a row may carry
// several ids and a name behind them.
func (n *namedTest) hasRow(row string) bool {
	word := regexp.MustCompile(`(^|[^\w-])` + regexp.QuoteMeta(row) + `($|[^\w-])`)
	if slices.ContainsFunc(n.strings, word.MatchString) {
		return true
	}
	for _, table := range n.tables() {
		for line := range strings.Lines(table) {
			if word.MatchString(line) && !strings.HasPrefix(line, "#") {
				return true
			}
		}
	}
	return false
}

// tables are the data files that the test's file names, by path or by base name.
func (n *namedTest) tables() (all []string) {
	for _, text := range n.all {
		for _, pattern := range []string{text, "testdata/*/" + text + ".txt"} {
			if strings.ContainsAny(text, " *?[\n") || !strings.HasSuffix(pattern, ".txt") {
				continue
			}
			found, _ := filepath.Glob(filepath.Join(root, path.Dir(n.file), pattern))
			for _, name := range found {
				if text, err := os.ReadFile(name); err == nil {
					all = append(all, string(text))
				}
			}
		}
	}
	return all
}

// exported are the names that a package offers: functions, types, methods, and fields as Type.Field.
func exported(t *testing.T, dir string) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	files, err := filepath.Glob(filepath.Join(root, dir, "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: %v", dir, err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range parsed(t, rel).Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				names[d.Name.Name] = d.Name.IsExported()
			case *ast.GenDecl:
				for _, s := range d.Specs {
					addType(names, s)
				}
			}
		}
	}
	return names
}

func addType(names map[string]bool, s ast.Spec) {
	spec, ok := s.(*ast.TypeSpec)
	if !ok || !spec.Name.IsExported() {
		return
	}
	names[spec.Name.Name] = true
	if structure, ok := spec.Type.(*ast.StructType); ok {
		for _, field := range structure.Fields.List {
			for _, name := range field.Names {
				names[spec.Name.Name+"."+name.Name] = name.IsExported()
			}
		}
	}
}

// stringsOf are the string literals of a package-level variable.
func stringsOf(t *testing.T, file, variable string) (all []string) {
	t.Helper()
	ast.Inspect(parsed(t, file), func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || spec.Names[0].Name != variable {
			return true
		}
		all = literals(spec)
		return false
	})
	if len(all) == 0 {
		t.Fatalf("%s has no %s", file, variable)
	}
	return all
}

func parsed(t *testing.T, name string) *ast.File {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, name), nil, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	return file
}
