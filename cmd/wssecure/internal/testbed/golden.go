package testbed

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Run builds the scanner, says where, runs the tests and gives their exit code. It is for the TestMain of any module that
// knows the scanner's package.
func Run(m *testing.M, scanner *string) int {
	flag.Parse()
	if f := flag.Lookup("test.parallel"); f.Value.String() == f.DefValue {
		f.Value.Set("12") // scans wait; they hardly compute
	}
	dir, err := os.MkdirTemp("", "wssecure")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	*scanner = filepath.Join(dir, "wssecure")
	out, err := exec.Command("go", "build", "-buildvcs=false", "-o", *scanner, "github.com/wssecure/wssecure/cmd/wssecure").CombinedOutput()
	if err != nil {
		fmt.Fprintf(os.Stderr, "%v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// longestScan is more than any scan of a test may take, the machine as busy as it may be.
const longestScan = 8 * time.Minute

// Unhurried are flags that leave a busy machine time for each step of a scan.
var Unhurried = []string{"--timeout", "15s", "--max-time", longestScan.String()}

// A Report is what a test reads of the scanner's JSON.
type Report struct {
	Error    string
	Grade    string
	Findings []struct{ ID, Severity, Got, Detail string }
	Others   []struct{ ID, State, Got, Detail string }
}

// Scan scans one target, with a token or none.
func Scan(tb testing.TB, binary, token string, args ...string) *Report {
	tb.Helper()
	defer Begin(tb)()
	ctx, cancel := context.WithTimeout(tb.Context(), longestScan)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, append([]string{"scan", "--quiet", "--format", "json"}, args...)...)
	cmd.Env = append(os.Environ(), "WSSECURE_TOKEN="+token)
	out, err := cmd.Output()
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || len(out) == 0) {
		tb.Fatalf("%v: %v\n%s", args, err, out)
	}
	var r struct{ Targets []*Report }
	if err := json.Unmarshal(out, &r); err != nil {
		tb.Fatal(err)
	}
	if len(r.Targets) != 1 {
		tb.Fatalf("%v: %d targets in the report", args, len(r.Targets))
	}
	return r.Targets[0]
}

// Has tells whether a check was found broken.
func (r *Report) Has(id string) bool {
	for _, f := range r.Findings {
		if f.ID == id {
			return true
		}
	}
	return false
}

// Expect compares grade and findings with a file: one line for each finding, and one for each check that could not be
// decided. WSS_UPDATE=1 writes the file.
func (r *Report) Expect(tb testing.TB, file string) {
	tb.Helper()
	if r.Error != "" {
		tb.Error(r.Error)
		return
	}
	got := r.summary()
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
		tb.Errorf("findings differ from %s; WSS_UPDATE=1 writes it anew\n%s", file, r.explain(difference(string(want), got)))
	}
}

// explain adds to each line what the server did.
func (r *Report) explain(lines string) string {
	var b strings.Builder
	for line := range strings.Lines(lines) {
		b.WriteString(line)
		id := line[strings.LastIndexByte(strings.TrimSpace(line), ' ')+1:]
		for _, f := range r.Findings {
			if f.ID == strings.TrimSpace(id) {
				fmt.Fprintf(&b, "\t%s: %s\n", f.Got, f.Detail)
			}
		}
		for _, o := range r.Others {
			if o.ID == strings.TrimSpace(id) {
				fmt.Fprintf(&b, "\t%s %s: %s\n", o.State, o.Got, o.Detail)
			}
		}
	}
	return b.String()
}

func (r *Report) summary() string {
	var b strings.Builder
	fmt.Fprintf(&b, "grade %s\n", r.Grade)
	for _, f := range r.Findings {
		fmt.Fprintf(&b, "%s %s\n", f.Severity, f.ID)
	}
	for _, o := range r.Others {
		if o.State == "unclear" {
			fmt.Fprintf(&b, "unclear %s\n", o.ID)
		}
	}
	return b.String()
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
