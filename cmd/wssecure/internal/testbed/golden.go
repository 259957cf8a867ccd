package testbed

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Build builds the scanner into dir, from any module that knows its package.
func Build(dir string) (binary string, err error) {
	binary = filepath.Join(dir, "wssecure")
	out, err := exec.Command("go", "build", "-buildvcs=false", "-o", binary, "github.com/wssecure/wssecure/cmd/wssecure").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return binary, nil
}

// longestScan is more than any scan of a test may take.
const longestScan = 2 * time.Minute

// Expect scans one target and compares grade and findings with a file: one line for each finding, and one for each check
// that could not be decided. WSS_UPDATE=1 writes the file.
func Expect(tb testing.TB, binary, file string, args ...string) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), longestScan)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, append([]string{"scan", "--quiet", "--format", "json"}, args...)...)
	out, err := cmd.Output()
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || exit.ExitCode() > 1) {
		tb.Fatalf("%v: %v\n%s", args, err, out)
	}
	got, err := summary(out)
	if err != nil {
		tb.Fatal(err)
	}
	if os.Getenv("WSS_UPDATE") != "" {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			tb.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		tb.Fatal(err)
	}
	if got != string(want) {
		tb.Errorf("findings differ from %s; WSS_UPDATE=1 writes it anew\n%s", file, difference(string(want), got))
	}
}

func summary(report []byte) (string, error) {
	var r struct {
		Targets []struct {
			Grade    string
			Findings []struct{ ID, Severity string }
			Others   []struct{ ID, State string }
		}
	}
	if err := json.Unmarshal(report, &r); err != nil {
		return "", err
	}
	if len(r.Targets) != 1 {
		return "", fmt.Errorf("%d targets in the report", len(r.Targets))
	}
	var b strings.Builder
	fmt.Fprintf(&b, "grade %s\n", r.Targets[0].Grade)
	for _, f := range r.Targets[0].Findings {
		fmt.Fprintf(&b, "%s %s\n", f.Severity, f.ID)
	}
	for _, o := range r.Targets[0].Others {
		if o.State == "unclear" {
			fmt.Fprintf(&b, "unclear %s\n", o.ID)
		}
	}
	return b.String(), nil
}

// difference is the lines that only one of the two has.
func difference(want, got string) string {
	var b strings.Builder
	only := func(mark, of, other string) {
		for line := range strings.Lines(of) {
			if !strings.Contains("\n"+other, "\n"+line) {
				b.WriteString(mark + line)
			}
		}
	}
	only("- ", want, got)
	only("+ ", got, want)
	return b.String()
}
