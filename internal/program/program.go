// Package program runs what is none of a test's own: nginx, Node, Python, the quickstart. What a machine lacks is left out
// aloud; what is started ends with the test.
package program

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Missing names the commands that are not found, and the node_modules that are not there.
func Missing(commands []string, modules ...string) (missing []string) {
	// Debian keeps nginx where only root's PATH looks.
	if path := os.Getenv("PATH"); !strings.HasSuffix(path, ":/usr/sbin") {
		os.Setenv("PATH", path+":/usr/sbin")
	}
	for _, name := range commands {
		if _, err := exec.LookPath(name); err != nil {
			missing = append(missing, name+" is missing")
		}
	}
	for _, name := range modules {
		if _, err := os.Stat(filepath.FromSlash(name)); err != nil {
			dir, _, _ := strings.Cut(name, "node_modules")
			missing = append(missing, filepath.Join(dir, "node_modules")+" is missing: npm ci --ignore-scripts")
		}
	}
	return missing
}

// Announce says aloud that tests are left out for what is missing, if anything is. Where the variable is set that is a
// failure, and Announce reports false.
func Announce(tests, variable string, missing []string) bool {
	if len(missing) == 0 {
		return true
	}
	fmt.Fprintf(os.Stderr, "\n*** %s are LEFT OUT: %s. `make test` installs what they need. ***\n\n", tests, strings.Join(missing, ", "))
	if os.Getenv(variable) == "" {
		return true
	}
	fmt.Fprintf(os.Stderr, "FAIL: %s is set\n", variable)
	return false
}

// Need is Announce for the TestMain of a package of which nothing can run then.
func Need(tests, variable string, missing []string) {
	if !Announce(tests, variable, missing) {
		os.Exit(1)
	}
	if len(missing) == 0 {
		return
	}
	// go test prints nothing of a package that passes, but it does say "[no tests to run]". Without its log of what was
	// looked at it does not keep that for a result, and looks again the next time.
	flag.Parse()
	flag.Set("test.run", "^$")
	flag.Set("test.testlogfile", "")
}

// patience bounds every wait for a program, on a machine however busy.
const patience = 2 * time.Minute

// A Script is a running program that writes lines of JSON, and ends when its standard input does, so that no test can leave
// it behind.
type Script struct {
	In io.Writer

	tb    testing.TB
	name  string
	cmd   *exec.Cmd
	lines *json.Decoder
}

// StartScript starts the file name of dir, and ends it with the test: it must then end well, and soon.
func StartScript(tb testing.TB, dir, interpreter, name string, arguments ...string) *Script {
	tb.Helper()
	if _, err := os.Stat(filepath.Join(dir, name)); err != nil { // go test then runs again when it changes
		tb.Fatal(err)
	}
	s := &Script{tb: tb, name: name, cmd: exec.Command(interpreter, append([]string{name}, arguments...)...)}
	s.cmd.Dir = dir
	var trouble strings.Builder
	s.cmd.Stderr = &trouble
	in, err := s.cmd.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	s.In, s.lines = in, json.NewDecoder(out)
	tb.Cleanup(func() {
		in.Close()
		overdue := time.AfterFunc(patience, func() { s.cmd.Process.Kill() })
		defer overdue.Stop()
		io.Copy(io.Discard, out)
		if s.cmd.Wait() != nil {
			tb.Errorf("%s: %v", name, s.cmd.ProcessState)
		}
		if tb.Failed() {
			text := trouble.String() // some complain of everything that they are sent
			tb.Logf("%s wrote to standard error:\n%s", name, text[max(0, len(text)-4<<10):])
		}
	})
	return s
}

// Line reads its next line.
func (s *Script) Line(into any) {
	s.tb.Helper()
	overdue := time.AfterFunc(patience, func() { s.cmd.Process.Kill() })
	defer overdue.Stop()
	if err := s.lines.Decode(into); err != nil {
		s.tb.Fatalf("%s has fallen silent: %v", s.name, err)
	}
}

// FreeAddr is an address of loopback that nobody listens at, for a program that cannot choose its port. It has an IP address
// of its own, where the system has such: whatever listens or connects meanwhile takes its ports from 127.0.0.1.
func FreeAddr(tb testing.TB) string {
	tb.Helper()
	own := fmt.Sprintf("127.%d.%d.%d:0", 128+rand.N(64), rand.N(256), 1+rand.N(254))
	l, err := net.Listen("tcp", own)
	if err != nil {
		l, err = net.Listen("tcp", "127.0.0.1:0")
	}
	if err != nil {
		tb.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// await waits until something listens at addr, or the program that should has ended.
func await(ctx context.Context, addr string, ended <-chan struct{}) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for {
		if c, err := net.Dial("tcp", addr); err == nil {
			return c.Close()
		}
		select {
		case <-ended:
			return errors.New("it has ended")
		case <-ctx.Done():
			return fmt.Errorf("nothing listens at %s", addr)
		case <-again.C:
		}
	}
}
