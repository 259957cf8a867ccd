package token_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"log"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wssecure/wssecure/internal/token"
)

// A site is an issuer on a real listener, whose handler can be changed.
type site struct {
	*httptest.Server
	handler atomic.Pointer[http.HandlerFunc]
	notices chan token.Notice
}

func newSite(t *testing.T, keys []byte) *site {
	t.Helper()
	s := &site{notices: make(chan token.Notice, 64)}
	s.serve(func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write(keys) })
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { (*s.handler.Load())(w, r) }))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

func (s *site) serve(h http.HandlerFunc) { s.handler.Store(&h) }

func (s *site) verifier(t *testing.T, c *http.Client) *verifier {
	t.Helper()
	v, err := token.NewRemote(s.URL+"/keys", c, rules(), same, func(n token.Notice) { s.notices <- n })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Close)
	return v
}

// next returns the next notice. Fetches here follow an unknown kid, so one is due at once.
func (s *site) next(t *testing.T) token.Notice {
	t.Helper()
	select {
	case n := <-s.notices:
		return n
	case <-time.After(time.Minute):
		t.Fatal("no notice")
		return token.Notice{}
	}
}

// bad answers an issuer may give, by name. target is a server that nobody may visit.
func badAnswers(t *testing.T, target string) map[string]http.HandlerFunc {
	t.Helper()
	es, ed := fixtureSet()["es"], fixtureSet()["ed"]
	both := jwks(es.jwk(), ed.jwk())
	text := func(body string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte(body)) }
	}
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", target)
			w.WriteHeader(code)
			if code != http.StatusNoContent && code != http.StatusNotModified {
				_, _ = w.Write(both)
			}
		}
	}
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	blanks := bytes.Repeat([]byte{' '}, 1<<20)
	for range 16 {
		must(z.Write(blanks))
	}
	must(z.Write(both))
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	many := make([]map[string]any, 257)
	for i := range many {
		many[i] = with(es.jwk(), map[string]any{"kid": strings.Repeat("k", i)})
	}
	return map[string]http.HandlerFunc{
		"500": status(500), "204": status(204), "206": status(206), "301": status(301), "302": status(302), "307": status(307),
		"304": status(304), "404": status(404), "201": status(201),
		"100 MB": func(w http.ResponseWriter, r *http.Request) {
			for range 100 {
				if _, err := w.Write(blanks); err != nil {
					return
				}
			}
			_, _ = w.Write(both)
		},
		"gzip bomb": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(bomb.Bytes())
		},
		"one byte over 1 MiB": text(strings.Repeat(" ", 1<<20-len(both)+1) + string(both)),
		"a MiB of lists":      text(`{"keys":[` + strings.Repeat("[],", 1<<18) + `[]]}`),
		"a MiB of members":    text(`{"keys":[],"x":[` + strings.Repeat(`{"a":1},`, 1<<16) + `1]}`),
		"HTML":                text("<!DOCTYPE html><html><body>Sign in</body></html>"),
		"cut JSON":            text(string(both[:len(both)-1])),
		"cut connection": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "100000")
			_, _ = w.Write(both)
		},
		"duplicate member": text(strings.Replace(string(both), `"keys"`, `"keys":[],"keys"`, 1)),
		"duplicate in key": text(strings.Replace(string(both), `"kty"`, `"kty":"EC","kty"`, 1)),
		"no keys":          text(`{"keys":[]}`),
		"KEYS":             text(strings.Replace(string(both), `"keys"`, `"KEYS"`, 1)),
		"lone JWK":         text(string(must(json.Marshal(ed.jwk())))),
		"a list":           text("[" + string(must(json.Marshal(ed.jwk()))) + "]"),
		"257 keys":         text(string(jwks(many...))),
		"empty":            text(""),
		"panic":            func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	}
}

func TestBadAnswers(t *testing.T) {
	es, ed := fixtureSet()["es"], fixtureSet()["ed"]
	visits := atomic.Int32{}
	target := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { visits.Add(1) }))
	defer target.Close()
	for what, answer := range badAnswers(t, target.URL) {
		t.Run("Q-04 "+what, func(t *testing.T) {
			s := newSite(t, jwks(es.jwk()))
			v := s.verifier(t, s.Client())
			text := es.token(nil)
			if got := judge(v, text); got != "ok" || s.next(t).Kind != token.Refreshed {
				t.Fatalf("at first: %s", got)
			}
			s.serve(answer)
			before := allocated()
			if got := judge(v, ed.token(nil)); got != "invalid" {
				t.Errorf("of a key in the bad set: %s", got)
			}
			if n := s.next(t); n.Kind != token.Failed || n.Keys != 1 || n.Err == nil || len(n.Err.Error()) > 300 {
				t.Errorf("notice %+v", n)
			}
			// The server's own share, in this process, is in it too.
			if spent := allocated() - before; spent > 4<<20 {
				t.Errorf("%d bytes allocated", spent)
			}
			if got := judge(v, text); got != "ok" || !v.Known(text) {
				t.Errorf("a good token: %s", got)
			}
		})
	}
	if n := visits.Load(); n != 0 {
		t.Errorf("Q-03 the target of redirects was visited %d times", n)
	}
}

func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}

func TestFetch(t *testing.T) {
	es := fixtureSet()["es"]
	t.Run("Q-03 the request", func(t *testing.T) {
		s := newSite(t, nil)
		seen := make(chan *http.Request, 9)
		s.serve(func(w http.ResponseWriter, r *http.Request) {
			http.SetCookie(w, &http.Cookie{Name: "a", Value: "b"})
			_, _ = w.Write(jwks(es.jwk()))
			seen <- r
		})
		c := s.Client()
		c.Jar = must(cookiejar.New(nil))
		followed := false
		c.CheckRedirect = func(*http.Request, []*http.Request) error { followed = true; return nil }
		v := s.verifier(t, c)
		if got := judge(v, es.token(nil)); got != "ok" {
			t.Fatal(got)
		}
		judge(v, pair{"new", "ES256", ecKey()}.token(nil))
		for range 2 {
			r := <-seen
			if r.Method != "GET" || r.URL.Path != "/keys" || r.Header.Get("Cookie") != "" || !r.Close && r.ProtoMajor == 1 {
				t.Errorf("%s %s %v", r.Method, r.URL, r.Header)
			}
		}
		s.serve(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/other", http.StatusFound) })
		if c.Jar == nil || c.CheckRedirect(nil, nil) != nil || !followed {
			t.Error("the caller's client was changed")
		}
	})
	t.Run("Q-03 TLS is verified", func(t *testing.T) {
		s := newSite(t, jwks(es.jwk()))
		for _, c := range []*http.Client{nil, {}, {Transport: &http.Transport{}}} {
			v := s.verifier(t, c)
			if got := judge(v, es.token(nil)); got != "unavailable" {
				t.Errorf("a certificate of nobody known: %s", got)
			}
			if n := s.next(t); !strings.Contains(n.Err.Error(), "certificate") {
				t.Errorf("got %v", n.Err)
			}
			v.Close()
		}
	})
	t.Run("Q-03 a set of 1 MiB", func(t *testing.T) {
		set := jwks(es.jwk())
		s := newSite(t, append(set, bytes.Repeat([]byte{' '}, 1<<20-len(set))...))
		if got := judge(s.verifier(t, s.Client()), es.token(nil)); got != "ok" {
			t.Error(got)
		}
	})
	t.Run("Q-03 gzip", func(t *testing.T) {
		s := newSite(t, nil)
		s.serve(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			_, _ = z.Write(jwks(es.jwk()))
			_ = z.Close()
		})
		if got := judge(s.verifier(t, s.Client()), es.token(nil)); got != "ok" {
			t.Error(got)
		}
	})
	t.Run("Q-13 no goroutine is left", func(t *testing.T) {
		s := newSite(t, nil)
		inside := make(chan struct{})
		s.serve(func(w http.ResponseWriter, r *http.Request) { close(inside); <-r.Context().Done() })
		v := s.verifier(t, s.Client())
		_ = v.Ready()
		<-inside
		v.Close()
		stack := make([]byte, 1<<20)
		for end := time.Now().Add(time.Minute); ; runtime.Gosched() {
			left := string(stack[:runtime.Stack(stack, true)])
			if !strings.Contains(left, "(*remote).run") && !strings.Contains(left, "http.(*persistConn)") {
				break
			}
			if time.Now().After(end) {
				t.Fatal(left)
			}
		}
	})
}
