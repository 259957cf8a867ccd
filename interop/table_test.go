package interop_test

import (
	"cmp"
	"fmt"
	"strings"
	"sync"
	"testing"
)

// A table is what a matrix of subtests has found, for whoever reads the output of
// the tests: `go test -v` prints the attributes of tests, and so does `make test`.
type table struct {
	mu    sync.Mutex
	cells map[[2]string]string
}

func newTable() *table { return &table{cells: map[[2]string]string{}} }

// note sets a cell when its subtest ends. Call it first: what the subtest leaves
// to its cleanup counts too.
func (tb *table) note(t *testing.T, row, column string, found func() string) {
	t.Cleanup(func() {
		tb.mu.Lock()
		defer tb.mu.Unlock()
		text := "FAILS"
		if !t.Failed() {
			text = found()
		}
		tb.cells[[2]string{row, column}] = text
	})
}

func (tb *table) print(t *testing.T, rows, columns []string) {
	tb.mu.Lock()
	defer tb.mu.Unlock()
	wide := func(names []string) (most int) {
		for _, name := range names {
			most = max(most, len(name))
		}
		return most
	}
	var found []string
	for _, text := range tb.cells {
		found = append(found, text)
	}
	first, other := wide(rows), max(wide(columns), wide(found))
	line := fmt.Sprintf("%-*s", first, "")
	for _, column := range columns {
		line += fmt.Sprintf(" | %-*s", other, column)
	}
	t.Attr("table", line+" |")
	t.Attr("table", strings.Repeat("-", len(line)))
	for _, row := range rows {
		line := fmt.Sprintf("%-*s", first, row)
		for _, column := range columns {
			line += fmt.Sprintf(" | %-*s", other, cmp.Or(tb.cells[[2]string{row, column}], "not run"))
		}
		t.Attr("table", line+" |")
	}
}
