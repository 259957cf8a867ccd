package main_test

import (
	"bufio"
	"crypto/tls"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// What users see first must not be found wanting by what they run next.
func TestQuickstartGetsTheBestGrade(t *testing.T) {
	address, token, ca := quickstart(t)
	scan := func(t *testing.T, limit time.Duration, flags ...string) {
		o, d := scanJSON(t, token, append(flags, "--ca", ca, "--subprotocol", "chat", "wss://"+address+"/ws")...)
		if got := d.Targets[0]; o.code != 0 || got.Grade != "A+" {
			t.Errorf("exit %d, grade %q because %q, %v, %s", o.code, got.Grade, got.Because, got.Findings, got.Error)
		}
		if o.took > limit {
			t.Errorf("took %v", o.took)
		}
		t.Logf("%v: %v", o.took.Round(time.Millisecond), d.Targets[0].Counts)
	}
	t.Run("passive", func(t *testing.T) { scan(t, 10*time.Second) })
	t.Parallel() // only now: the time of the passive one says something of an idle machine alone
	t.Run("active", func(t *testing.T) { scan(t, time.Minute, "--active") })
}

// quickstart runs the example until the test ends, and reads from its greeting how to reach it.
func quickstart(t *testing.T) (address, token, ca string) {
	t.Helper()
	dir := t.TempDir()
	program := filepath.Join(dir, "quickstart")
	if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", program, "github.com/wssecure/wssecure/examples/quickstart").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	cmd := exec.Command(program, "-addr", "localhost:0")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	lines := bufio.NewScanner(out)
	for lines.Scan() && (address == "" || token == "") {
		switch words := strings.Fields(lines.Text()); {
		case len(words) > 1 && words[0] == "Open":
			address = strings.TrimPrefix(words[1], "https://")
		case len(words) > 1 && words[0] == "Token":
			token = words[1]
		}
	}
	if address == "" || token == "" {
		t.Fatalf("the greeting names no address or token: %q, %q", address, token)
	}
	go io.Copy(io.Discard, out)
	ca = filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(ca, fetch(t, "https://"+address+"/ca.pem"), 0o600); err != nil {
		t.Fatal(err)
	}
	return address, token, ca
}

// fetch gets what is not secret from this machine, and need not know who serves it.
func fetch(t *testing.T, from string) []byte {
	t.Helper()
	client := &http.Client{
		Timeout:   10 * time.Second,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true},
	}
	resp, err := client.Get(from)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v", from, resp.Status, err)
	}
	return body
}
