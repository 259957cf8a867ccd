package interop_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httputil"
	"net/url"
	"testing"
	"time"

	"github.com/wssecure/wssecure/internal/program"
	"github.com/wssecure/wssecure/wssecuretest"
)

// missingNode is what a machine lacks for the tests with npm's ws.
var missingNode = program.Missing([]string{"node"}, "nodews/node_modules/ws")

// nodeBackend is a process of Node with an echo over ws: what stands behind the
// guard is then in no way Go.
type nodeBackend struct{ url *url.URL }

func startNodeBackend(t testing.TB) *nodeBackend {
	t.Helper()
	var at struct{ Port int }
	program.StartScript(t, "nodews", "node", "backend.mjs").Line(&at)
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
	for deadline := time.Now().Add(hang); time.Now().Before(deadline); <-time.After(5 * time.Millisecond) {
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
type hostile struct {
	t testing.TB
	*program.Script
}

// attackOf starts an attack with a good token of user; see nodews/hostile.mjs.
func (r *rig) attackOf(t testing.TB, attack string) *hostile {
	t.Helper()
	argument, err := json.Marshal(map[string]string{
		"url": r.URL, "host": wssecuretest.Host, "origin": wssecuretest.Origin, "token": r.issuer.Token(user), "attack": attack,
	})
	if err != nil {
		t.Fatal(err)
	}
	return &hostile{t, program.StartScript(t, "nodews", "node", "hostile.mjs", string(argument))}
}

// opened gives the extensions that the handshake has agreed on.
func (h *hostile) opened() string {
	h.t.Helper()
	var line struct{ Open *string }
	if h.Line(&line); line.Open == nil {
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
		if h.Line(&line); line.Close != nil {
			return *line.Close, line.Reason
		}
	}
}
