package main_test

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/wssecure/wssecure/cmd/wssecure/internal/scan"
)

const (
	manual     = "../../docs/scanner.md"
	tableBegin = "<!-- checks: written by WSS_UPDATE=1 go test -run TestDocumentation ./cmd/wssecure -->\n"
	tableEnd   = "<!-- end of checks -->"
)

// Reports link to docs/scanner.md#ID, so each check has its place there. WSS_UPDATE=1 writes the table anew.
func TestDocumentationNamesEveryCheck(t *testing.T) {
	text, err := os.ReadFile(manual)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), tableBegin)
	table, after, ok2 := strings.Cut(rest, tableEnd)
	if !ok || !ok2 {
		t.Fatalf("%s has no place for the table", manual)
	}
	want := checkTable()
	if os.Getenv("WSS_UPDATE") != "" {
		if err := os.WriteFile(manual, []byte(before+tableBegin+want+tableEnd+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if table != want {
		t.Errorf("%s lists other checks than there are; WSS_UPDATE=1 writes the table anew", manual)
	}
}

func checkTable() string {
	var b strings.Builder
	b.WriteString("\n| check | severity | what is tried |\n|---|---|---|\n")
	for _, r := range scan.Rules() {
		mark := ""
		if r.Active {
			mark = " *"
		}
		fmt.Fprintf(&b, "| <a id=\"%s\"></a>`%[1]s`%s | %s | %s |\n", r.ID, mark, r.Severity, strings.ReplaceAll(r.Title, "|", `\|`))
	}
	b.WriteString("\n")
	return b.String()
}

func TestRulesAreOfUse(t *testing.T) {
	seen := map[string]bool{}
	form := regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)
	for _, r := range scan.Rules() {
		if seen[r.ID] || !form.MatchString(r.ID) {
			t.Errorf("ID %q is twice there, or of another form", r.ID)
		}
		seen[r.ID] = true
		if r.Title == "" || r.Why == "" || r.Fix == "" || r.Option == "" || r.Group == "" {
			t.Errorf("%s lacks what a reader needs: %+v", r.ID, r)
		}
		// A sentence of the report goes on behind it.
		for _, text := range []string{r.Title, r.Why, r.Fix, r.Option} {
			if strings.HasSuffix(text, ".") || strings.ContainsAny(text, "\n\t\x1b") {
				t.Errorf("%s: %q ends with a dot, or has more than one line", r.ID, text)
			}
		}
	}
}
