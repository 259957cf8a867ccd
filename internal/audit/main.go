// Command audit is what `make audit` runs: it starts the quickstart, has testssl.sh, sslscan, nmap, slowhttptest and h2spec
// judge it, and checks what they say. It ends with a table, and with 1 when a check fails. The tools are none of ours; where
// they complain of what is right here, accepted says why.
package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/wssecure/wssecure/internal/program"
)

// A check is one thing that a judge's result must show.
type check struct {
	name     string
	seen     string
	good     bool
	accepted bool // not good, and right as it is here: seen says why
}

// A judge is one tool: how it is run, and what must stand in the file that it writes.
type judge struct {
	name    string
	command []string      // to run it; nil: its name
	patient time.Duration // the most it may take
	args    func(q *program.Quickstart, file string) []string
	file    string
	read    func(result, said []byte) ([]check, error) // its file, and its output

	// beside is in place of read for what any server of net/http does: it also has the file of one.
	beside func(result, plain []byte) ([]check, error)
}

var judges = []judge{
	{name: "sslscan", patient: time.Minute, args: func(q *program.Quickstart, file string) []string {
		return []string{"--no-colour", "--xml=" + file, q.Address}
	}, file: "sslscan.xml", read: readSSLScan},
	{name: "nmap", patient: 2 * time.Minute, args: func(q *program.Quickstart, file string) []string {
		return []string{"-Pn", "-p", q.Port(), "--script", "ssl-enum-ciphers", "-oX", file, "localhost"}
	}, file: "nmap.xml", read: readNmap},
	{name: "testssl", patient: 15 * time.Minute, args: func(q *program.Quickstart, file string) []string {
		// Everything but the simulated clients and the list of each cipher, which sslscan and nmap give.
		return []string{"--quiet", "--color", "0", "--warnings", "off", "--ip", "one", "--add-ca", q.Authority,
			"-p", "-s", "-f", "-P", "-S", "-h", "-U", "--jsonfile", file, "https://" + q.Address}
	}, file: "testssl.json", read: readTestSSL},
	{name: "slowhttptest", patient: 2 * time.Minute, args: func(q *program.Quickstart, file string) []string {
		return []string{"-H", "-c", fmt.Sprint(slowClients), "-r", "100", "-i", "2", "-l", "30", "-x", "24", "-p", "3",
			"-u", "https://" + q.Address + "/", "-g", "-o", strings.TrimSuffix(file, ".csv")}
	}, file: "slow.csv", read: readSlow},
	{name: "h2spec", command: []string{"go", "run", h2spec}, patient: 10 * time.Minute, args: func(q *program.Quickstart, file string) []string {
		host, port, _ := net.SplitHostPort(q.Address)
		return []string{"-t", "-k", "-h", host, "-p", port, "-o", "2", "-j", file}
	}, file: "h2spec.xml", beside: readH2Spec},
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if failed, err := run(ctx, os.Stdout); err != nil || failed > 0 {
		if err != nil {
			fmt.Fprintln(os.Stderr, "audit:", err)
		}
		stop()
		os.Exit(1)
	}
}

// run judges the quickstart and tells how many checks have failed.
func run(ctx context.Context, out io.Writer) (failed int, err error) {
	dir, err := os.MkdirTemp("", "audit")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	q, err := program.StartQuickstart(ctx, dir)
	if err != nil {
		return 0, err
	}
	defer q.Stop()
	var summary []string
	for _, j := range judges {
		fmt.Fprintln(out, "==", j.name)
		began := time.Now()
		for _, c := range j.judge(ctx, q, dir) {
			verdict := "ok"
			switch {
			case c.accepted:
				verdict = "accepted"
			case !c.good:
				verdict = "FAILED"
				failed++
			}
			summary = append(summary, fmt.Sprintf("%-12s | %-24s | %-8s | %s", j.name, c.name, verdict, c.seen))
		}
		fmt.Fprintln(out, "  ", time.Since(began).Round(time.Second))
	}
	fmt.Fprintf(out, "\n%s\n\n%d lines, %d failed\n", strings.Join(summary, "\n"), len(summary), failed)
	return failed, nil
}

// judge runs the tool. One that cannot be run, or whose result cannot be read, is a failed check: silence is no good news.
func (j judge) judge(ctx context.Context, q *program.Quickstart, dir string) []check {
	if j.beside != nil {
		return j.compare(ctx, q, dir)
	}
	result, said, err := j.run(ctx, q, filepath.Join(dir, j.file))
	if err != nil {
		return []check{{name: "comes to an end", seen: err.Error()}}
	}
	checks, err := j.read(result, said)
	if err != nil {
		return []check{{name: "result can be read", seen: err.Error()}}
	}
	return checks
}

// tries is how often a comparison is made at most: some cases are a race between an answer and what the client sends next,
// and now and then go the other way. What is wrong is wrong each time.
const tries = 3

// compare runs the tool against the quickstart and against a plain server.
func (j judge) compare(ctx context.Context, q *program.Quickstart, dir string) (checks []check) {
	server := plainServer()
	defer server.Close()
	plain := &program.Quickstart{Address: server.Listener.Addr().String()}
	for range tries {
		ours, _, err := j.run(ctx, q, filepath.Join(dir, j.file))
		if err != nil {
			return []check{{name: "comes to an end", seen: err.Error()}}
		}
		theirs, _, err := j.run(ctx, plain, filepath.Join(dir, "plain-"+j.file))
		if err != nil {
			return []check{{name: "comes to an end with net/http", seen: err.Error()}}
		}
		checks, err = j.beside(ours, theirs)
		if err != nil {
			return []check{{name: "result can be read", seen: err.Error()}}
		}
		if !slices.ContainsFunc(checks, func(c check) bool { return !c.good }) {
			return checks
		}
	}
	return checks
}

// run gives the tool's file about a server, and its output.
func (j judge) run(ctx context.Context, q *program.Quickstart, file string) (result, said []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, j.patient)
	defer cancel()
	command := j.command
	if command == nil {
		command = []string{j.name}
	}
	cmd := exec.CommandContext(ctx, command[0], append(command[1:len(command):len(command)], j.args(q, file)...)...)
	cmd.Dir = filepath.Dir(file)
	endAll(cmd)
	said, err = cmd.CombinedOutput()
	result, missing := os.ReadFile(file)
	if ctx.Err() != nil || missing != nil { // the exit code counts findings with some, and says nothing with others
		return nil, nil, fmt.Errorf("%v, %v: %s", err, missing, last(said, 300))
	}
	return result, said, nil
}

// endAll has the tool and what it starts end together, by the group that it leads.
func endAll(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
}

func last(text []byte, n int) string {
	return strings.TrimSpace(string(text[max(0, len(text)-n):]))
}
