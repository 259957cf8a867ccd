package wssecuretest_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/wssecure/wssecure/wssecuretest"
)

// The whole catalogue against a guard as it comes, the ten seconds of Harden's ReadHeaderTimeout included.
func TestAttackOnAFixture(t *testing.T) {
	s := wssecuretest.NewServer(t)
	wssecuretest.Attack(t, s.URL, s.AttackOptions())
}

// child is set where a test runs itself as a process of its own, because it is to fail.
const child = "WSS_TEST_CHILD"

// outputOf runs this very test as a process of its own, in which childhood is true, and returns what it printed.
func outputOf(t *testing.T) string {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=10m")
	cmd.Env = append(os.Environ(), child+"=1")
	out, err := cmd.CombinedOutput()
	if _, failed := err.(*exec.ExitError); !failed {
		t.Fatalf("the test of a weak server did not fail: %v\n%s", err, out)
	}
	return string(out)
}

func childhood() bool { return os.Getenv(child) != "" }

// weak is the first example of a WebSocket library, the check of Origin switched off.
func weak(w http.ResponseWriter, r *http.Request) {
	c, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
	if err != nil {
		return
	}
	defer c.CloseNow()
	for {
		typ, p, err := c.Read(r.Context())
		if err != nil || c.Write(r.Context(), typ, p) != nil {
			return
		}
	}
}

func TestAttackSaysWhatToMend(t *testing.T) {
	if childhood() {
		s := httptest.NewServer(http.HandlerFunc(weak))
		defer s.Close()
		wssecuretest.Attack(t, s.URL, wssecuretest.AttackOptions{Passive: true, Skip: []string{"origin-null"}})
		return
	}
	out := outputOf(t)
	for _, want := range []string{
		"--- FAIL: TestAttackSaysWhatToMend/origin/origin-foreign",
		"origin-foreign (critical): an Origin of another site",
		"sent:           Origin: https://evil.example",
		"got:            HTTP/1.1 101 Switching Protocols",
		"why it matters: a page of the attacker opens a socket",
		"fix:            compare scheme, host and port",
		`wssecure:       AllowOrigins("https://app.example.com")`,
		"see:            CWE-1385, RFC 6455 10.2",
		"--- PASS: TestAttackSaysWhatToMend/origin/origin-null",
		"origin-null (left, left out by Skip)",
		"flood-ping",
		"(left, active attacks were not allowed)",
		"token-none",
		"(left, no token was given)",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("the output lacks %q", want)
		}
	}
	if n := len(regexp.MustCompile(`attacks: \d+ held, \d+ broken, \d+ left, \d+ unclear`).FindAllString(out, -1)); n != 1 {
		t.Errorf("%d summary lines, want 1", n)
	}
	if t.Failed() {
		t.Log(out)
	}
}

func TestAttackWantsItsTokenAdmitted(t *testing.T) {
	s := wssecuretest.NewServer(t)
	if childhood() {
		o := s.AttackOptions()
		o.Token = func() string { return "not.a.token" }
		wssecuretest.Attack(t, s.URL, o)
		return
	}
	out := outputOf(t)
	if !strings.Contains(out, "the honest handshake is refused, with Origin https://app.example.com and a token") || strings.Contains(out, "origin-foreign") {
		t.Errorf("%s", out)
	}
	if strings.Contains(out, "not.a.token") {
		t.Error("the output shows the token")
	}
}

func TestAttackNamesUnknownSkips(t *testing.T) {
	if childhood() {
		s := wssecuretest.NewServer(t)
		o := s.AttackOptions()
		o.Passive, o.Skip = true, []string{"origin-forein"}
		wssecuretest.Attack(t, s.URL, o)
		return
	}
	if out := outputOf(t); !strings.Contains(out, `Skip: no attack is called "origin-forein"`) {
		t.Errorf("%s", out)
	}
}
