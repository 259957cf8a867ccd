package wssecure_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/internal/probe"
	"github.com/wssecure/wssecure/wssecuretest"
)

// TestMain keeps the guards' log lines out of the tests' output; tests that are
// about them set a logger of their own. A process that is told to attack does
// nothing else.
func TestMain(m *testing.M) {
	if order := os.Getenv(attackVariable); order != "" {
		attack(order)
	}
	flag.Parse()
	if f := flag.Lookup("test.parallel"); f.Value.String() == fmt.Sprint(runtime.GOMAXPROCS(0)) {
		f.Value.Set("6") // most of what is parallel is attacks, which wait
	}
	slog.SetDefault(slog.New(slog.NewTextHandler(io.Discard, nil)))
	os.Exit(m.Run())
}

// hang bounds every wait for what comes by itself. Only what never comes meets it:
// a machine may be as busy as it likes.
const hang = time.Minute

// ask sends one handshake over a connection of its own and reads the answer.
func ask(t *testing.T, s *wssecuretest.Server, hs *probe.Handshake) (*probe.Response, *probe.Conn) {
	t.Helper()
	c := s.Raw()
	if err := c.Send(hs.Bytes()); err != nil {
		t.Fatalf("send: %v", err)
	}
	r, err := c.Response()
	if err != nil {
		t.Fatalf("no answer: %v", err)
	}
	return r, c
}

// wantAdmitted opens a session and returns its connection.
func wantAdmitted(t *testing.T, s *wssecuretest.Server, hs *probe.Handshake) (*probe.Response, *probe.Conn) {
	t.Helper()
	r, c := ask(t, s, hs)
	if r.Status != 101 {
		t.Fatalf("status %d, want 101: %s", r.Status, r.Body)
	}
	return r, c
}

// wantRefused sends hs and holds the answer to everything that is promised of a
// refusal. It returns the answer and its event.
func wantRefused(t *testing.T, s *wssecuretest.Server, hs *probe.Handshake, status int, reason wssecure.Reason) (*probe.Response, wssecure.Event) {
	t.Helper()
	r, c := ask(t, s, hs)
	if r.Status != status {
		t.Fatalf("status %d, want %d for %s: %s", r.Status, status, reason, r.Body)
	}
	if err := c.AwaitEOF(hang); err != nil {
		t.Errorf("after the refusal: %v", err)
	}
	e := wantProblem(t, s, r, reason)
	wantRefusalHeaders(t, r, hs)
	return r, e
}

// wantProblem checks the body and finds the one event that its instance names.
func wantProblem(t *testing.T, s *wssecuretest.Server, r *probe.Response, reason wssecure.Reason) wssecure.Event {
	t.Helper()
	var members map[string]any
	if err := json.Unmarshal(r.Body, &members); err != nil {
		t.Fatalf("problem body %q: %v", r.Body, err)
	}
	for _, name := range []string{"type", "title", "status", "instance"} {
		if members[name] == nil {
			t.Errorf("problem body lacks %q: %s", name, r.Body)
		}
	}
	if len(members) != 4 {
		t.Errorf("problem body has %d members, want 4: %s", len(members), r.Body)
	}
	if members["status"] != float64(r.Status) || members["title"] != http.StatusText(r.Status) {
		t.Errorf("problem body of status %d: %s", r.Status, r.Body)
	}
	id, _ := members["instance"].(string)
	e := eventOf(t, s, id)
	if e.Kind != wssecure.EventRefused || e.Reason != reason || e.Status != r.Status {
		t.Errorf("event %s %s %d, want %s %s %d", e.Kind, e.Reason, e.Status, wssecure.EventRefused, reason, r.Status)
	}
	return e
}

// eventOf waits for the events of one handshake and wants exactly one.
func eventOf(t *testing.T, s *wssecuretest.Server, id string) wssecure.Event {
	t.Helper()
	var found []wssecure.Event
	for deadline := time.Now().Add(hang); time.Now().Before(deadline); {
		found = found[:0]
		for _, e := range s.Events() {
			if e.ID == id {
				found = append(found, e)
			}
		}
		if len(found) > 0 {
			break
		}
		<-time.After(time.Millisecond)
	}
	if len(found) != 1 {
		t.Fatalf("%d events for instance %q, want 1", len(found), id)
	}
	return found[0]
}

// wantRefusalHeaders checks the set of headers, and that nothing of the request
// comes back.
func wantRefusalHeaders(t *testing.T, r *probe.Response, hs *probe.Handshake) {
	t.Helper()
	want := map[string]string{
		"Content-Type":            "application/problem+json",
		"Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
		"X-Frame-Options":         "DENY",
		"X-Content-Type-Options":  "nosniff",
		"Cache-Control":           "no-store",
	}
	for name, value := range want {
		if got := r.Values(name); len(got) != 1 || got[0] != value {
			t.Errorf("%s: %q, want %q once", name, got, value)
		}
	}
	if got := r.Values("Connection"); len(got) == 0 || got[0] != "close" {
		t.Errorf("Connection: %q, want close first", got)
	}
	for _, name := range []string{"Location", "Set-Cookie", "Vary", "Referrer-Policy", "Cross-Origin-Opener-Policy", "Access-Control-Allow-Origin"} {
		if got := r.Values(name); len(got) > 0 {
			t.Errorf("a refusal has %s: %q", name, got)
		}
	}
	for _, line := range hs.Lines {
		_, value, _ := strings.Cut(line, ":")
		if value = strings.TrimSpace(value); len(value) > 12 && strings.Contains(string(r.Body), value) {
			t.Errorf("the body echoes %q", value)
		}
	}
}

// eventually waits for what comes by itself.
func eventually(t *testing.T, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(hang); !ok(); <-time.After(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v", hang)
		}
	}
}
