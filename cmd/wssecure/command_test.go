package main_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/wssecure/wssecure/cmd/wssecure/internal/testbed"
)

// scanner is the command, built once: what is tested is what a pipeline runs.
var scanner string

func TestMain(m *testing.M) { os.Exit(testbed.Run(m, &scanner)) }

// An outcome is what one run of the command came to.
type outcome struct {
	code     int
	out, err string
	took     time.Duration
	memory   int64 // at most, in bytes; 0 where the system does not say
}

// patience is longer than any run may take, the machine as busy as it may be.
const patience = 8 * time.Minute

// run runs the command with the token, none when it is empty.
func run(t testing.TB, token string, args ...string) outcome {
	t.Helper()
	defer testbed.Begin(t)()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, scanner, args...)
	cmd.Env = append(os.Environ(), "WSSECURE_TOKEN="+token)
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	began := time.Now()
	memory := make(chan int64, 1)
	err := cmd.Start()
	if err == nil {
		ended := make(chan struct{})
		go func() { memory <- most(cmd.Process.Pid, ended) }()
		err = cmd.Wait()
		close(ended)
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) || ctx.Err() != nil {
		t.Fatalf("%v: %v\n%s", args, err, stderr.String())
	}
	return outcome{cmd.ProcessState.ExitCode(), out.String(), stderr.String(), time.Since(began), <-memory}
}

// most is the largest size of a process in memory, looked at now and then until it has ended. What the kernel reports of an
// ended child counts this process too, from which it was forked.
func most(pid int, ended <-chan struct{}) (size int64) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if _, peak, found := strings.Cut(string(status), "VmHWM:"); found {
			var kib int64
			fmt.Sscan(peak, &kib)
			size = max(size, kib<<10)
		}
		select {
		case <-tick.C:
		case <-ended:
			return size
		}
	}
}

// A document is what the tests read of the JSON.
type document struct {
	Schema  int
	Targets []struct {
		URL, Error, Grade, Because string
		Admitted                   bool
		Notes                      []string
		Counts                     map[string]int
		Findings                   []result
		Others                     []result
		Milliseconds               int64
	}
}

type result struct{ ID, State, Severity, Got, Detail string }

// scanJSON scans and reads the report of one target.
func scanJSON(t testing.TB, token string, args ...string) (outcome, document) {
	t.Helper()
	o := run(t, token, append([]string{"scan", "--format", "json"}, args...)...)
	var d document
	if err := json.Unmarshal([]byte(o.out), &d); err != nil {
		t.Fatalf("%v: exit %d, %v\n%s%s", args, o.code, err, o.out, o.err)
	}
	if len(d.Targets) == 0 {
		t.Fatalf("%v: no target in the report", args)
	}
	return o, d
}

// harmless fails where a target's bytes got through to the user's terminal.
func harmless(t testing.TB, o outcome) {
	t.Helper()
	for _, text := range []string{o.out, o.err} {
		if i := strings.IndexFunc(text, func(r rune) bool {
			return r != '\n' && (r < ' ' || r >= 0x7f && r <= 0x9f || r == '\u202e' || r == '\u200b')
		}); i >= 0 {
			t.Errorf("control character %q in %q", text[i], text[max(0, i-40):min(len(text), i+40)])
		}
	}
	if strings.Contains(o.err, "goroutine ") || strings.Contains(o.err, "panic") {
		t.Errorf("panic: %s", o.err)
	}
}
