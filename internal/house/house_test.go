package house_test

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const (
	root   = "../.."
	module = "github.com/wssecure/wssecure"
	jwx    = "github.com/lestrrat-go/jwx/v2"
)

// direct are the root module's dependencies; indirect what they bring along. A longer list is a decision of the project,
// not of a change: anything heavier belongs in a nested module.
var (
	direct   = []string{"github.com/coder/websocket", jwx, "golang.org/x/time"}
	indirect = []string{
		"github.com/decred/dcrd/dcrec/secp256k1/v4",
		"github.com/goccy/go-json",
		"github.com/lestrrat-go/blackmagic",
		"github.com/lestrrat-go/httpcc",
		"github.com/lestrrat-go/httprc",
		"github.com/lestrrat-go/iter",
		"github.com/lestrrat-go/option",
		"github.com/segmentio/asm",
		"golang.org/x/crypto",
		"golang.org/x/sys",
	}
)

// leaves may be imported by any package: text for logs, strict JSON, and bytes on the wire for those who attack.
var leaves = []string{module + "/internal/quote", module + "/internal/strictjson", module + "/internal/probe"}

// supports are what tests of several packages, and the nested modules, share. Beside tests only the audit starts programs.
var supports = []string{module + "/internal/logbook", module + "/internal/memnet", module + "/internal/program"}

func TestRootCompilesNoFurtherModule(t *testing.T) {
	allowed := slices.Concat(direct, indirect, []string{module})
	compiled := strings.Fields(goTool(t, "list", "-deps", "-f", "{{with .Module}}{{.Path}}{{end}}", "./..."))
	slices.Sort(compiled)
	for _, m := range slices.Compact(compiled) {
		if !slices.Contains(allowed, m) {
			t.Errorf("the root module compiles %s, which is not on the list", m)
		}
	}
	if !slices.Contains(compiled, module) {
		t.Error("the list names no package of ours: it was not read")
	}
}

func TestRootRequiresThreeModules(t *testing.T) {
	var mod struct {
		Require []struct {
			Path     string
			Indirect bool
		}
		Replace []struct{ Old struct{ Path string } }
		Tool    []struct{ Path string }
	}
	if err := json.Unmarshal([]byte(goTool(t, "mod", "edit", "-json")), &mod); err != nil {
		t.Fatal(err)
	}
	var required []string
	for _, r := range mod.Require {
		if !r.Indirect {
			required = append(required, r.Path)
		}
	}
	slices.Sort(required)
	if !slices.Equal(required, direct) {
		t.Errorf("go.mod requires %v, want %v", required, direct)
	}
	// Users would not get a replacement, and a tool would bring its modules to them.
	if len(mod.Replace) > 0 || len(mod.Tool) > 0 {
		t.Errorf("go.mod replaces %v and names tools %v", mod.Replace, mod.Tool)
	}
}

func TestImportsPointOneWay(t *testing.T) {
	for _, p := range packages(t) {
		for _, imported := range slices.Concat(p.Imports, p.TestImports, p.XTestImports) {
			if (imported == jwx || strings.HasPrefix(imported, jwx+"/")) && p.ImportPath != module+"/internal/token" {
				t.Errorf("%s imports %s: jwx is end-of-life upstream and stays behind internal/token", p.ImportPath, imported)
			}
		}
		inner := strings.HasPrefix(p.ImportPath, module+"/internal/")
		for _, imported := range p.Imports {
			ours := imported == module || strings.HasPrefix(imported, module+"/")
			if !ours || slices.Contains(leaves, imported) {
				continue
			}
			if slices.Contains(supports, imported) {
				if p.ImportPath != module+"/internal/audit" {
					t.Errorf("%s imports %s: only tests do", p.ImportPath, imported)
				}
			} else if slices.Contains(leaves, p.ImportPath) {
				t.Errorf("%s imports %s: a leaf imports the standard library only", p.ImportPath, imported)
			} else if inner {
				t.Errorf("%s imports %s: internal packages import neither the root nor each other", p.ImportPath, imported)
			}
		}
	}
}

func TestFuzzTargetsAreSeeded(t *testing.T) {
	targets := 0
	walk(t, func(name string) {
		if !strings.HasSuffix(name, "_test.go") {
			return
		}
		file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, name), nil, parser.SkipObjectResolution)
		if err != nil {
			t.Error(err)
			return
		}
		for _, d := range file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || f.Recv != nil || !strings.HasPrefix(f.Name.Name, "Fuzz") || len(f.Type.Params.List) != 1 {
				continue
			}
			targets++
			corpus, _ := os.ReadDir(filepath.Join(root, path.Dir(name), "testdata", "fuzz", f.Name.Name))
			if len(corpus) == 0 && !seeds(f) {
				t.Errorf("%s: %s has no seed: neither f.Add nor testdata/fuzz/%[2]s", name, f.Name.Name)
			}
		}
	})
	if targets == 0 {
		t.Error("no fuzz target was found")
	}
}

// seeds reports whether a target calls f.Add, or hands f to a function that may.
func seeds(target *ast.FuncDecl) bool {
	if len(target.Type.Params.List[0].Names) != 1 {
		return false
	}
	f := target.Type.Params.List[0].Names[0].Name
	isF := func(e ast.Expr) bool {
		id, ok := e.(*ast.Ident)
		return ok && id.Name == f
	}
	seeded := false
	ast.Inspect(target.Body, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		if method, ok := call.Fun.(*ast.SelectorExpr); ok && isF(method.X) && method.Sel.Name == "Add" {
			seeded = true
		}
		// A function named for seeds only: f goes to any function that wants a testing.TB.
		if id, ok := call.Fun.(*ast.Ident); ok && strings.Contains(strings.ToLower(id.Name), "seed") && slices.ContainsFunc(call.Args, isF) {
			seeded = true
		}
		return true
	})
	return seeded
}

// longest is where a file has stopped telling one story; the style asks for about 400 lines.
const longest = 450

func TestFilesStayShort(t *testing.T) {
	walk(t, func(name string) {
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return
		}
		source, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Error(err)
			return
		}
		if n := strings.Count(string(source), "\n"); n > longest {
			t.Errorf("%s has %d lines, more than %d", name, n, longest)
		}
	})
}

type goPackage struct {
	ImportPath                         string
	Imports, TestImports, XTestImports []string
}

func packages(t *testing.T) []goPackage {
	t.Helper()
	var found []goPackage
	d := json.NewDecoder(strings.NewReader(goTool(t, "list", "-json=ImportPath,Imports,TestImports,XTestImports", "./...")))
	for d.More() {
		var p goPackage
		if err := d.Decode(&p); err != nil {
			t.Fatal(err)
		}
		found = append(found, p)
	}
	if len(found) == 0 {
		t.Fatal("no package was found")
	}
	return found
}

func goTool(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.Command("go", args...)
	cmd.Dir = root
	out, err := cmd.Output()
	if exit, ok := err.(*exec.ExitError); ok {
		t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, exit.Stderr)
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// walk visits the files of all modules by their path from the root.
func walk(t *testing.T, visit func(name string)) {
	t.Helper()
	err := fs.WalkDir(os.DirFS(root), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if !d.IsDir() {
			visit(name)
			return nil
		}
		if base := d.Name(); name != "." && (base == "node_modules" || base == "testdata" || base[0] == '.') {
			return fs.SkipDir
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
