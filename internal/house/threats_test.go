package house_test

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/wssecure/wssecure/internal/attack"
)

// threats is the page that promises a test for each attack; a promise that nobody holds is worse than none.
const threats = "docs/threats.md"

// catalogueRows is how many rows of hostile input each room of the catalogue has.
var catalogueRows = map[string]int{"W": 15, "C": 14, "J": 21, "P": 6, "R": 9, "D": 13, "S": 12, "I": 8}

var (
	quotedInText = regexp.MustCompile("`([^`]+)`")
	testName     = regexp.MustCompile(`^(?:([a-z0-9/]+)\.)?((?:Test|Fuzz)[A-Z]\w*)(?:/(.+))?$`)
	advisory     = regexp.MustCompile(`(?:CVE|GHSA)-[0-9a-z-]+`)
)

func TestThreatsNameTestsThatExist(t *testing.T) {
	tests := testsOfTree(t)
	named := 0
	for _, text := range quoted(page(t, threats)) {
		m := testName.FindStringSubmatch(text)
		if m == nil {
			continue
		}
		named++
		test, ok := tests[path.Join(m[1], m[2])]
		if !ok {
			t.Errorf("%s: no such test", text)
		} else if m[3] != "" && !test.hasRow(m[3]) {
			t.Errorf("%s: %s has no such row", text, test.file)
		}
	}
	if named == 0 {
		t.Error("no test is named: the page was not read")
	}
	for _, label := range []string{"proved by", "shown by", "tests"} {
		for _, cell := range labelled(t, threats, label) {
			names := quoted(cell)
			if len(names) == 0 {
				t.Errorf("%s: no test in %q", label, cell)
			}
			for _, text := range names {
				if !testName.MatchString(text) {
					t.Errorf("%s: %s is no test", label, text)
				}
			}
		}
	}
}

// Every attack of the catalogue is on the page, and the page names no other.
func TestThreatsNameEveryAttack(t *testing.T) {
	missing := map[string]bool{}
	for _, a := range attack.All() {
		missing[a.ID] = true
	}
	for _, cell := range labelled(t, threats, "tried by") {
		for _, text := range quoted(cell) {
			found := false
			for _, a := range attack.All() {
				if ok, err := path.Match(text, a.ID); err != nil {
					t.Error(err)
				} else if ok {
					found = true
					delete(missing, a.ID)
				}
			}
			if !found {
				t.Errorf("%s: no such attack", text)
			}
		}
	}
	for id := range missing {
		t.Errorf("%s: an attack that the page does not name", id)
	}
}

// What a row says the operator sees is what the table of reasons says, number included.
func TestThreatsNameReasonsThatExist(t *testing.T) {
	answers := answersOfReasons(t)
	pair := regexp.MustCompile("`([^`]+)`(?: ([0-9]+))?")
	for _, cell := range labelled(t, threats, "seen as") {
		for _, m := range pair.FindAllStringSubmatch(cell, -1) {
			if known, ok := answers[m[1]]; !ok {
				t.Errorf("%s: no such reason", m[1])
			} else if m[2] != "" && !slices.Contains(known, m[2]) {
				t.Errorf("%s is answered by %v, not by %s", m[1], known, m[2])
			}
		}
	}
}

// What is named as the cure is an exported name, or a check as events name it.
func TestThreatsNameOptionsThatExist(t *testing.T) {
	checks := stringsOf(t, "handshake.go", "builtinChecks")
	own := exported(t, ".")
	for _, label := range []string{"stopped by", "answered by"} {
		for _, cell := range labelled(t, threats, label) {
			for _, text := range quoted(cell) {
				dir, name, isPair := strings.Cut(text, ".")
				if info, err := os.Stat(filepath.Join(root, dir)); isPair && err == nil && info.IsDir() {
					if !exported(t, dir)[name] {
						t.Errorf("%s: package %s has no such name", text, dir)
					}
					continue
				}
				if !own[text] && !slices.Contains(checks, text) && text != "govulncheck" && text != "wssecure scan" {
					t.Errorf("%s: neither an exported name nor a check", text)
				}
			}
		}
	}
}

// The catalogue's rows are all there; what attacks refer to is among them.
func TestThreatsCoverTheCatalogue(t *testing.T) {
	text := page(t, threats)
	row := regexp.MustCompile(`(?m)^\| ([A-Z][0-9]+) \|`)
	listed := map[string]bool{}
	for _, m := range row.FindAllStringSubmatch(text, -1) {
		if listed[m[1]] {
			t.Errorf("%s is there twice", m[1])
		}
		listed[m[1]] = true
	}
	total := 0
	for room, rows := range catalogueRows {
		total += rows
		for i := 1; i <= rows; i++ {
			if id := room + strconv.Itoa(i); !listed[id] {
				t.Errorf("%s is not listed", id)
			}
		}
	}
	if len(listed) != total {
		t.Errorf("%d rows, want %d", len(listed), total)
	}
	for _, a := range attack.All() {
		for _, ref := range a.Refs {
			if id, ok := strings.CutPrefix(ref, "ATTACKS "); ok && !listed[id] {
				t.Errorf("%s refers to row %s, which is not listed", a.ID, id)
			}
			if advisory.MatchString(ref) && !strings.Contains(text, ref) {
				t.Errorf("%s refers to %s, which the page does not list", a.ID, ref)
			}
		}
	}
}

func TestPagesLeadToTheThreats(t *testing.T) {
	for _, name := range []string{"README.md", "SECURITY.md"} {
		if !strings.Contains(page(t, name), "("+threats+")") {
			t.Errorf("%s does not link %s", name, threats)
		}
	}
}

func page(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func quoted(text string) (all []string) {
	for _, m := range quotedInText.FindAllStringSubmatch(text, -1) {
		all = append(all, m[1])
	}
	return all
}

// labelled is every cell of a page under or beside that name: beside it where a table is upright, under it where it is a column.
func labelled(t *testing.T, name, label string) (cells []string) {
	t.Helper()
	column := -1
	for line := range strings.Lines(page(t, name)) {
		cell := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), " | ")
		switch at := slices.IndexFunc(cell, func(c string) bool { return strings.TrimSpace(c) == label }); {
		case !strings.HasPrefix(line, "|"):
			column = -1
		case at == 0 && len(cell) == 2:
			cells = append(cells, cell[1])
		case at >= 0:
			column = at
		case column >= 0 && column < len(cell) && !strings.HasPrefix(line, "|---"):
			cells = append(cells, cell[column])
		}
	}
	if len(cells) == 0 {
		t.Fatalf("no cell of %s is called %q", name, label)
	}
	return cells
}

// answersOfReasons are the numbers by which a peer may be told of each reason: of the golden table, and those that
// docs/reasons.md says more.
func answersOfReasons(t *testing.T) map[string][]string {
	t.Helper()
	all := map[string][]string{}
	for line := range strings.Lines(page(t, "testdata/reasons.txt")) {
		if f := strings.Fields(line); len(f) > 2 && f[0] != "#" {
			all[f[0]] = f[1:3]
		}
	}
	for line := range strings.Lines(page(t, "docs/reasons.md")) {
		cell := strings.Split(line, "|")
		if len(cell) < 3 {
			continue
		}
		for _, reason := range quoted(cell[1]) {
			if _, ok := all[reason]; ok {
				all[reason] = append(all[reason], numbers(cell[2])...)
			}
		}
	}
	if len(all) == 0 {
		t.Fatal("no reason was read")
	}
	return all
}

func numbers(text string) []string { return regexp.MustCompile(`[0-9]+`).FindAllString(text, -1) }
