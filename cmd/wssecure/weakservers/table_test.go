package weakservers_test

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/wssecure/wssecure/cmd/wssecure/internal/finding"
	"github.com/wssecure/wssecure/cmd/wssecure/internal/scan"
	"github.com/wssecure/wssecure/cmd/wssecure/internal/testbed"
)

// A table is what was found in which server: by name of the server and ID of the finding.
type table struct {
	mu     sync.Mutex
	grades map[string]string
	cells  map[[2]string]string
}

// The cells of a table. What held, or was not tried, is blank.
const (
	broken  = "x"
	unclear = "?"
)

func newTable() *table { return &table{grades: map[string]string{}, cells: map[[2]string]string{}} }

func (tb *table) note(name string, r *testbed.Report) {
	tb.mu.Lock()
	defer tb.mu.Unlock()
	maps.DeleteFunc(tb.cells, func(cell [2]string, _ string) bool { return cell[0] == name })
	tb.grades[name] = r.Grade
	for _, f := range r.Findings {
		tb.cells[[2]string{name, f.ID}] = broken
	}
	for _, o := range r.Others {
		if o.State == "unclear" {
			tb.cells[[2]string{name, o.ID}] = unclear
		}
	}
}

// columns are the servers that were scanned.
func (tb *table) columns() (names []string) {
	for _, s := range servers {
		if tb.grades[s.name] != "" {
			names = append(names, s.name)
		}
	}
	return names
}

// rows are what was found anywhere, the gravest first.
func (tb *table) rows() (rules []finding.Rule) {
	for _, r := range scan.Rules() {
		if slices.ContainsFunc(tb.columns(), func(name string) bool { return tb.cells[[2]string{name, r.ID}] != "" }) {
			rules = append(rules, r)
		}
	}
	slices.SortStableFunc(rules, func(a, b finding.Rule) int { return int(b.Severity) - int(a.Severity) })
	return rules
}

// print shows the table to whoever reads the output of `make test` or `go test -v`.
func (tb *table) print(t *testing.T) {
	columns := tb.columns()
	line := func(first string, cell func(name string) string) {
		text := fmt.Sprintf("%-33s", first)
		for _, name := range columns {
			text += fmt.Sprintf(" | %-*s", len(name), cell(name))
		}
		t.Attr("table", text+" |")
	}
	line("", func(name string) string { return name })
	line("grade", func(name string) string { return tb.grades[name] })
	for _, r := range tb.rows() {
		line(fmt.Sprintf("%-8s %s", r.Severity, r.ID), func(name string) string { return tb.cells[[2]string{name, r.ID}] })
	}
}

// markdown is the table as docs/scanner.md has it.
func (tb *table) markdown() string {
	var b strings.Builder
	b.WriteString("\n| finding | severity |")
	for _, name := range tb.columns() {
		fmt.Fprintf(&b, " %s |", name)
	}
	b.WriteString("\n|---|---|" + strings.Repeat("---|", len(tb.columns())) + "\n| grade | |")
	for _, name := range tb.columns() {
		fmt.Fprintf(&b, " %s |", tb.grades[name])
	}
	for _, r := range tb.rows() {
		fmt.Fprintf(&b, "\n| [`%s`](#%[1]s) | %s |", r.ID, r.Severity)
		for _, name := range tb.columns() {
			fmt.Fprintf(&b, " %s |", tb.cells[[2]string{name, r.ID}])
		}
	}
	return b.String() + "\n\n"
}

const (
	manual     = "../../../docs/scanner.md"
	tableBegin = "<!-- weak servers: written by WSS_UPDATE=1 go test in cmd/wssecure/weakservers -->\n"
	tableEnd   = "<!-- end of weak servers -->"
)

// wantManual compares the manual with the files of testdata. WSS_UPDATE=1 writes it anew.
func wantManual(t *testing.T) {
	text, err := os.ReadFile(manual)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := bytes.Cut(text, []byte(tableBegin))
	got, after, ok2 := bytes.Cut(rest, []byte(tableEnd))
	if !ok || !ok2 {
		t.Fatalf("%s has no place for the table", manual)
	}
	want := recorded(t).markdown()
	if os.Getenv("WSS_UPDATE") != "" {
		if err := os.WriteFile(manual, slices.Concat(before, []byte(tableBegin+want+tableEnd), after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if string(got) != want {
		t.Errorf("%s shows other findings than testdata; WSS_UPDATE=1 writes the table anew", manual)
	}
}

// recorded is the table of testdata, by the newest version where there are several.
func recorded(t *testing.T) *table {
	t.Helper()
	tb := newTable()
	for _, s := range servers {
		files, err := filepath.Glob(golden(s.name, "")) // of a server in go.mod or package-lock.json
		if versions, _ := filepath.Glob(golden(s.name, "[0-9]*")); err == nil && len(files) == 0 {
			files = versions
		}
		if len(files) == 0 {
			t.Fatalf("testdata has nothing of %s", s.name)
		}
		text, err := os.ReadFile(files[len(files)-1])
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
			switch word {
			case "grade":
				tb.grades[s.name] = rest
			case "unclear":
				tb.cells[[2]string{s.name, rest}] = unclear
			default:
				tb.cells[[2]string{s.name, rest}] = broken
			}
		}
	}
	return tb
}
