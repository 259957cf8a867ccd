package program_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/wssecure/wssecure/internal/program"
)

func TestWhatIsMissingIsNamed(t *testing.T) {
	got := program.Missing([]string{"go", "no-such-command"}, "page/node_modules/ws")
	want := []string{"no-such-command is missing", filepath.Join("page", "node_modules") + " is missing: npm ci --ignore-scripts"}
	if !slices.Equal(got, want) {
		t.Errorf("missing: %q, want %q", got, want)
	}
}

func TestWhatIsRequiredIsNotLeftOut(t *testing.T) {
	for _, row := range []struct {
		required string
		missing  []string
		may      bool
	}{{"", nil, true}, {"1", nil, true}, {"", []string{"x is missing"}, true}, {"1", []string{"x is missing"}, false}} {
		t.Setenv("WSS_REQUIRE_OF_A_TEST", row.required)
		if may := program.Announce("The tests of this test", "WSS_REQUIRE_OF_A_TEST", row.missing); may != row.may {
			t.Errorf("required %q, missing %q: may run %v", row.required, row.missing, may)
		}
	}
}

func TestScriptEndsWithItsInput(t *testing.T) {
	dir := t.TempDir()
	ended := filepath.Join(dir, "ended")
	source := fmt.Sprintf("read name; echo \"{\\\"Hello\\\": \\\"$name\\\"}\"; cat >/dev/null; echo >%s", ended)
	if err := os.WriteFile(filepath.Join(dir, "greet.sh"), []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Run("script", func(t *testing.T) {
		s := program.StartScript(t, dir, "sh", "greet.sh")
		fmt.Fprintln(s.In, "Alice")
		var says struct{ Hello string }
		if s.Line(&says); says.Hello != "Alice" {
			t.Errorf("it says %q", says.Hello)
		}
	})
	if _, err := os.Stat(ended); err != nil {
		t.Errorf("it did not come to its end: %v", err)
	}
}
