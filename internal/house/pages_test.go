package house_test

import (
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// This file holds what the pages say to the code: what is shown compiles, and what is linked is there.

// pages are what a reader is shown, by path from the root.
func pages(t *testing.T) (names []string) {
	t.Helper()
	for _, pattern := range []string{"*.md", "docs/*.md"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil || len(found) == 0 {
			t.Fatalf("%s: %v", pattern, err)
		}
		for _, name := range found {
			names = append(names, strings.TrimPrefix(filepath.ToSlash(name), root+"/"))
		}
	}
	return names
}

var (
	goBlock   = regexp.MustCompile("(?ms)^```go\n(.*?)^```")
	codeBlock = regexp.MustCompile("(?ms)^ *```.*?^ *```")
	inlined   = regexp.MustCompile("`[^`\n]*`")
	link      = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading   = regexp.MustCompile(`(?m)^#+ (.*)$`)
	anchored  = regexp.MustCompile(`<a id="([^"]+)">`)
)

// around is what the blocks of Go may take for granted, and nothing else: the packages of this module with those that any
// file imports, a handler, a guard, and a store of the reader's own.
const around = `package shown

import (
	"context"
	"log"
	"net/http"
	"testing"
	"time"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/filter"
	"github.com/wssecure/wssecure/store"
	"github.com/wssecure/wssecure/store/storetest"
	"github.com/wssecure/wssecure/wssecuretest"
)

func openMine(t *testing.T) store.Store { return nil }

var shared store.Store
`

// handler is what a block serves that does not show it.
const handler = `
func chat(ctx context.Context, c *wssecure.Conn) error { return nil }
`

// Who copies a block into a program must not be stopped by the compiler.
func TestBlocksOfPagesCompile(t *testing.T) {
	fset := token.NewFileSet()
	exports := exportData(t)
	importing := importer.ForCompiler(fset, "gc", func(path string) (io.ReadCloser, error) {
		name, ok := exports[path]
		if !ok {
			return nil, fmt.Errorf("no export data of %s", path)
		}
		return os.Open(name)
	})
	blocks := 0
	for _, name := range pages(t) {
		for _, m := range goBlock.FindAllStringSubmatch(page(t, name), -1) {
			blocks++
			block := strings.ReplaceAll(m[1], "\t...\n", "") // what the reader fills in
			if !strings.HasPrefix(block, "func ") {
				block = "func _(t *testing.T) {\n" + block + "}\n"
			}
			if !strings.HasPrefix(block, "func chat(") {
				block = handler + block
			}
			file, err := parser.ParseFile(fset, name, around+block, parser.SkipObjectResolution)
			if err != nil {
				t.Errorf("%s: %v in\n%s", name, err, block)
				continue
			}
			config := types.Config{Importer: importing, Error: func(err error) {
				if fault, ok := err.(types.Error); !ok || !fault.Soft { // soft: what is not used yet
					t.Errorf("%v in\n%s", err, block)
				}
			}}
			_, _ = config.Check("shown", fset, []*ast.File{file}, nil)
		}
	}
	if blocks < 4 {
		t.Errorf("only %d blocks of Go were found", blocks)
	}
}

// exportData are the files of compiled packages that around imports, and what those import.
func exportData(t *testing.T) map[string]string {
	t.Helper()
	files := map[string]string{}
	out := goTool(t, "list", "-export", "-deps", "-f", "{{.ImportPath}}={{.Export}}", ".", "./filter", "./store/storetest", "./wssecuretest")
	for line := range strings.Lines(out) {
		if pkg, file, ok := strings.Cut(strings.TrimSpace(line), "="); ok && file != "" {
			files[pkg] = file
		}
	}
	return files
}

// A heading that was renamed, or a file that was moved, leaves links to nowhere.
func TestLinksOfPagesResolve(t *testing.T) {
	links := 0
	for _, name := range pages(t) {
		for _, m := range link.FindAllStringSubmatch(prose(page(t, name)), -1) {
			links++
			file, anchor, _ := strings.Cut(m[1], "#")
			if strings.Contains(file, "://") {
				if !strings.HasPrefix(file, "https://") {
					t.Errorf("%s links %s: not https", name, m[1])
				}
				continue
			}
			target := name
			if file != "" {
				target = path.Join(path.Dir(name), file)
			}
			if _, err := os.Stat(filepath.Join(root, target)); err != nil {
				t.Errorf("%s links %s: %v", name, m[1], err)
			} else if anchor != "" && !anchors(page(t, target))[anchor] {
				t.Errorf("%s links %s: no such heading", name, m[1])
			}
		}
	}
	if links < 20 {
		t.Errorf("only %d links were found", links)
	}
}

// prose is text without what is shown as code.
func prose(text string) string {
	return inlined.ReplaceAllString(codeBlock.ReplaceAllString(text, ""), "")
}

// anchors are the headings of a page as links name them, and the ids that it sets itself.
func anchors(text string) map[string]bool {
	names := map[string]bool{}
	for _, m := range anchored.FindAllStringSubmatch(text, -1) {
		names[m[1]] = true
	}
	for _, m := range heading.FindAllStringSubmatch(codeBlock.ReplaceAllString(text, ""), -1) {
		anchor := regexp.MustCompile(`[^a-z0-9_ -]`).ReplaceAllString(strings.ToLower(m[1]), "")
		names[strings.ReplaceAll(anchor, " ", "-")] = true
	}
	return names
}

// Commands that a page tells the reader to run are there.
func TestMakeTargetsOfPagesExist(t *testing.T) {
	makefile := page(t, "Makefile")
	named := 0
	for _, name := range pages(t) {
		for _, m := range regexp.MustCompile("(?m)(?:`|^    |^)make ([a-z]+)").FindAllStringSubmatch(page(t, name), -1) {
			named++
			if !strings.Contains(makefile, "\n"+m[1]+":") {
				t.Errorf("%s: the Makefile has no target %s", name, m[1])
			}
		}
	}
	if named < 5 {
		t.Errorf("only %d commands were found", named)
	}
}

// A map that lacks a file, or names one that is gone, sends a newcomer astray.
func TestMapOfContributingIsComplete(t *testing.T) {
	mapped := map[string]bool{}
	for _, cell := range labelled(t, "CONTRIBUTING.md", "files") {
		for _, name := range regexp.MustCompile(`\w+\.go`).FindAllString(cell, -1) {
			mapped[name] = true
		}
	}
	files, err := filepath.Glob(filepath.Join(root, "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatal(len(files), err)
	}
	for _, file := range files {
		name := filepath.Base(file)
		if !strings.HasSuffix(name, "_test.go") && !mapped[name] {
			t.Errorf("%s is not in the table of CONTRIBUTING.md", name)
		}
		delete(mapped, name)
	}
	for name := range mapped {
		t.Errorf("CONTRIBUTING.md names %s, which is not there", name)
	}
}
