package interop_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wssecure/wssecure/wssecuretest"
)

// wantNode names what a machine without Node lacks: the tests with npm's ws are
// then left out, aloud, and where WSS_REQUIRE_NODE is set that is a failure.
func wantNode() (missing []string) {
	if _, err := exec.LookPath("node"); err != nil {
		missing = append(missing, "node is missing")
	}
	if _, err := os.Stat(filepath.FromSlash("nodews/node_modules/ws")); err != nil {
		missing = append(missing, "interop/nodews/node_modules is missing: npm ci --ignore-scripts")
	}
	return missing
}

var missingNode = wantNode()

// announceMissing reports whether the tests may run without what is missing.
func announceMissing() bool {
	if len(missingNode) == 0 {
		return true
	}
	fmt.Fprintf(os.Stderr, "\n*** The tests with npm's ws are LEFT OUT: %s. `make test` installs what they need. ***\n\n", strings.Join(missingNode, ", "))
	if os.Getenv("WSS_REQUIRE_NODE") != "" {
		fmt.Fprintln(os.Stderr, "FAIL: WSS_REQUIRE_NODE is set")
		return false
	}
	return true
}

// script is a running script of nodews: lines of JSON come out of it.
type script struct {
	t     testing.TB
	name  string
	lines *json.Decoder
}

// runScript starts one, and ends it with the test.
func runScript(t testing.TB, name string, arguments ...string) *script {
	t.Helper()
	if _, err := os.Stat(filepath.Join("nodews", name)); err != nil { // go test then runs again when it changes
		t.Fatal(err)
	}
	cmd := exec.Command("node", append([]string{name}, arguments...)...)
	cmd.Dir = "nodews"
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// Also ends a read of its lines that would wait for ever.
	overdue := time.AfterFunc(time.Minute, func() { cmd.Process.Kill() })
	t.Cleanup(func() {
		in.Close()
		io.Copy(io.Discard, out)
		if overdue.Stop(); cmd.Wait() != nil {
			t.Errorf("%s: %v", name, cmd.ProcessState)
		}
	})
	return &script{t, name, json.NewDecoder(out)}
}

func (s *script) line(into any) {
	s.t.Helper()
	if err := s.lines.Decode(into); err != nil {
		s.t.Fatalf("%s has fallen silent: %v", s.name, err)
	}
}

// nodeBackend is a process of Node with an echo over ws: what stands behind the
// guard is then in no way Go.
type nodeBackend struct{ url *url.URL }

func startNodeBackend(t testing.TB) *nodeBackend {
	t.Helper()
	var at struct{ Port int }
	runScript(t, "backend.mjs").line(&at)
	return &nodeBackend{&url.URL{Scheme: "http", Host: fmt.Sprintf("127.0.0.1:%d", at.Port)}}
}

// proxy hands requests on under a path of the test's own.
func (b *nodeBackend) proxy(t testing.TB) http.Handler {
	return &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(b.url)
			r.Out.URL.Path = "/" + url.PathEscape(t.Name())
		},
		ErrorLog: noLog,
	}
}

// wantLeft waits until no more than n of the test's sockets are open at the
// backend: who is cut off in front is not kept behind.
func (b *nodeBackend) wantLeft(t testing.TB, n int) {
	t.Helper()
	target := b.url.JoinPath("/", url.PathEscape(url.PathEscape(t.Name()))).String()
	got := -1
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); <-time.After(5 * time.Millisecond) {
		answer, err := http.Get(target)
		if err != nil {
			t.Fatal(err)
		}
		_, err = fmt.Fscan(answer.Body, &got)
		answer.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		if got <= n {
			return
		}
	}
	t.Errorf("the backend holds %d sockets of %s, want %d", got, target, n)
}

// hostile is a client over ws with bad intentions.
type hostile struct{ *script }

// attackOf starts an attack with a good token of user; see nodews/hostile.mjs.
func (r *rig) attackOf(t testing.TB, attack string) *hostile {
	t.Helper()
	argument, err := json.Marshal(map[string]string{
		"url": r.URL, "host": wssecuretest.Host, "origin": wssecuretest.Origin, "token": r.issuer.Token(user), "attack": attack,
	})
	if err != nil {
		t.Fatal(err)
	}
	return &hostile{runScript(t, "hostile.mjs", string(argument))}
}

// opened gives the extensions that the handshake has agreed on.
func (h *hostile) opened() string {
	h.t.Helper()
	var line struct{ Open *string }
	if h.line(&line); line.Open == nil {
		h.t.Fatal("the hostile client was not let in")
	}
	return *line.Open
}

// closed passes messages over and gives the close code and reason that it saw.
func (h *hostile) closed() (code int, reason string) {
	h.t.Helper()
	for {
		var line struct {
			Close  *int
			Reason string
		}
		if h.line(&line); line.Close != nil {
			return *line.Close, line.Reason
		}
	}
}
