package house_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Flaws of the platform are ours to carry: go.mod demands a patch release of Go, not any of its minor version; what
// judges hosts and origins does not rest on net/url; and the database of vulnerabilities is asked every week.
func TestPlatformFlawsAreWatched(t *testing.T) {
	if !regexp.MustCompile(`(?m)^go 1\.\d+\.[1-9]\d*$`).MatchString(page(t, "go.mod")) {
		t.Error("go.mod states no minimum patch release of Go")
	}
	for _, p := range packages(t) {
		if p.ImportPath == module+"/internal/origin" && slices.Contains(p.Imports, "net/url") {
			t.Error("internal/origin imports net/url")
		}
	}
	workflow := page(t, ".github/workflows/ci.yml")
	if !strings.Contains(workflow, "schedule:") || !strings.Contains(workflow, "run: make vuln") {
		t.Error("CI runs no make vuln on a schedule")
	}
	if !strings.Contains(page(t, "Makefile"), "golang.org/x/vuln/cmd/govulncheck") {
		t.Error("make vuln does not run govulncheck")
	}
}
