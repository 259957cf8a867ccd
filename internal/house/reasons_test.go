package house_test

import (
	"slices"
	"strings"
	"testing"
)

// Each reason stands in docs/reasons.md where a peer may meet it: with its status and public form among the refused
// handshakes, with its close code among the ended sessions.
func TestReasonsAreExplained(t *testing.T) {
	refused, ended, found := strings.Cut(page(t, "docs/reasons.md"), "\n## Ended sessions\n")
	if !found {
		t.Fatal("docs/reasons.md has no heading Ended sessions")
	}
	handshakes, sessions := explained(refused), explained(ended)
	for line := range strings.Lines(page(t, "testdata/reasons.txt")) {
		f := strings.Fields(line)
		if f[0] == "#" {
			continue
		}
		reason, status, code, public := f[0], f[1], f[2], f[3]
		if row := handshakes[reason]; status != "-" && (row == nil || !slices.Contains(numbers(row[0]), status) || strings.TrimSpace(row[1]) != public) {
			t.Errorf("%s is not among the refused handshakes with %s and %s: %q", reason, status, public, row)
		}
		if row := sessions[reason]; code != "-" && (row == nil || !slices.Contains(numbers(row[0]), code)) {
			t.Errorf("%s is not among the ended sessions with %s: %q", reason, code, row)
		}
		delete(handshakes, reason)
		delete(sessions, reason)
	}
	for reason := range handshakes {
		t.Errorf("%s, among the refused handshakes, is no reason", reason)
	}
	for reason := range sessions {
		t.Errorf("%s, among the ended sessions, is no reason", reason)
	}
}

// explained are the cells behind the first, by each reason that the first one names.
func explained(text string) map[string][]string {
	rows := map[string][]string{}
	for line := range strings.Lines(text) {
		cell := strings.Split(line, "|")
		if len(cell) < 4 {
			continue
		}
		for _, reason := range quoted(cell[1]) {
			rows[reason] = cell[2:]
		}
	}
	return rows
}
