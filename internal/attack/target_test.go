package attack_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wssecure/wssecure/internal/attack"
	"github.com/wssecure/wssecure/internal/probe"
)

// overTCP is served with a network: for attacks that listen themselves, and for what kernels keep.
func overTCP(t *testing.T, handler http.HandlerFunc) *attack.Target {
	s := httptest.NewServer(handler)
	t.Cleanup(s.Close)
	return &attack.Target{URL: s.URL + "/ws", Origin: "https://app.example.com"}
}

// admit writes the 101 of an honest server.
func admit(w http.ResponseWriter, r *http.Request) {
	c, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	defer c.Close()
	fmt.Fprintf(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n", probe.Accept(r.Header.Get("Sec-WebSocket-Key")))
}

func prepared(t *testing.T, target *attack.Target) *attack.Target {
	t.Helper()
	if err := target.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	return target
}

func try(t *testing.T, target *attack.Target, id string) attack.Verdict {
	t.Helper()
	a, ok := attack.Find(id)
	if !ok {
		t.Fatalf("no attack %q", id)
	}
	return a.Try(t.Context(), target)
}

func TestTargetsThatAreNone(t *testing.T) {
	for _, url := range []string{"", "ftp://a/", "ws://", "a.example", "ws://u@a/", "ws://a/#x", "ws://a b/"} {
		target := &attack.Target{URL: url}
		if err := target.Prepare(t.Context()); err == nil {
			t.Errorf("%q passes for an endpoint", url)
		}
	}
	target := &attack.Target{URL: "ws://127.0.0.1:1"} // no port that a system gives away
	if err := target.Prepare(t.Context()); err == nil {
		t.Error("nobody listens, and that is no error")
	}
}

// Host and Origin are what a browser makes of the URL, however it is written.
func TestHostAndOriginAreABrowsers(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Host == "chat.example.com" && r.Header.Get("Origin") == "http://chat.example.com" {
			admit(w, r)
			return
		}
		w.WriteHeader(403)
	}))
	t.Cleanup(s.Close)
	for _, url := range []string{"ws://chat.example.com/", "ws://chat.example.com:80/", "ws://CHAT.example.com"} {
		target := prepared(t, &attack.Target{URL: url, Addr: strings.TrimPrefix(s.URL, "http://")})
		if ok, got := target.Admitted(); !ok {
			t.Errorf("%s: %s", url, got)
		}
	}
}

// A verdict says what the server did, and nothing that it cannot know.
func TestVerdicts(t *testing.T) {
	good := func(r *http.Request) bool { return r.Header.Get("Origin") == "https://app.example.com" }
	refusing := func(status int, header ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if good(r) {
				admit(w, r)
				return
			}
			for i := 0; i < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			w.WriteHeader(status)
		}
	}
	for _, row := range []struct {
		name    string
		handler http.HandlerFunc
		want    attack.State
	}{
		{"admitted", admit, attack.Broken},
		{"refused", refusing(403), attack.Held},
		{"served as a page", refusing(200), attack.Held},
		{"too many, for long", refusing(429, "Retry-After", "60"), attack.Unclear},
		{"busy", refusing(503, "Retry-After", "60"), attack.Unclear},
		{"refused like the honest one", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(401) }, attack.Unclear},
		{"refused before the honest one", func(w http.ResponseWriter, r *http.Request) {
			if good(r) {
				w.WriteHeader(401)
				return
			}
			w.WriteHeader(403)
		}, attack.Held},
		{"cut", func(w http.ResponseWriter, r *http.Request) {
			if good(r) {
				admit(w, r)
				return
			}
			panic(http.ErrAbortHandler)
		}, attack.Held},
	} {
		t.Run(row.name, inFakeTime(func(t *testing.T) {
			if v := try(t, prepared(t, served(t, row.handler)), "origin-foreign"); v.State != row.want {
				t.Errorf("%s, want %s: %+v", v.State, row.want, v)
			}
		}))
	}
}

// A server that puts off one handshake is asked once more: it may have refused for that alone.
func TestABusyServerIsAskedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		target := prepared(t, served(t, func(w http.ResponseWriter, r *http.Request) {
			if asked.Add(1) == 2 {
				w.Header().Set("Retry-After", "1")
				w.WriteHeader(429)
				return
			}
			admit(w, r)
		}))
		if v := try(t, target, "origin-foreign"); v.State != attack.Broken {
			t.Errorf("%+v", v)
		}
	})
}

// Whatever the server says, a verdict is one short line and holds no credential.
func TestVerdictsShowNoTokenAndNoControls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const secret = "the-good-token-of-somebody"
		target := served(t, func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Origin") == "https://app.example.com" && r.Header.Get("Sec-WebSocket-Version") == "13" {
				admit(w, r)
				return
			}
			w.WriteHeader(403)
			fmt.Fprintf(w, "%s \x1b[2J\r\nforged \u202e %s", r.Header, strings.Repeat("x", 5000))
		})
		target.Token = func() string { return secret }
		prepared(t, target)
		for _, a := range attack.All() {
			if a.Active {
				continue
			}
			v := a.Try(t.Context(), target)
			all := v.Sent + v.Got + v.Detail
			if strings.Contains(all, secret) {
				t.Errorf("%s shows the token: %+v", a.ID, v)
			}
			if len(all) > 1500 || strings.ContainsAny(all, "\x1b\u202e\r\n") {
				t.Errorf("%s shows what the server sent: %q", a.ID, all)
			}
		}
	})
}

// Whatever Origin and token are good, no attack trips over them.
func TestOddOriginsAndTokens(t *testing.T) {
	t.Parallel()
	for _, origin := range []string{"null", "chrome-extension://abc", "https://[::1]:8443", "http://localhost:3000", "capacitor://localhost", "https://a", "%zz"} {
		for _, token := range []string{"", "..", "a.b.c", "e30.e30.", "bnVsbA.W10.x", "opaque"} {
			target := overTCP(t, func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Origin") == origin && r.Header.Get("Sec-WebSocket-Version") == "13" {
					admit(w, r)
					return
				}
				w.WriteHeader(403)
			})
			target.Origin = origin
			target.Token = func() string { return token }
			target.Sign = func(header, payload []byte) (string, error) { return "x.y.z", nil }
			target.PublicKeys = [][]byte{nil}
			prepared(t, target)
			for _, a := range attack.All() {
				if a.Active || a.ID == "body-withheld-refused" {
					continue
				}
				if v := a.Try(t.Context(), target); strings.Contains(v.Detail, "the attack itself failed") {
					t.Errorf("Origin %q, token %q, %s: %s", origin, token, a.ID, v.Detail)
				}
			}
		}
	}
}

func TestWhatIsMissingIsLeftAndNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		target := prepared(t, served(t, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(403) }))
		for id, want := range map[string]string{
			"flood-ping":     "active attacks were not allowed",
			"token-missing":  "no token was given",
			"token-none":     "no token was given",
			"log-secrets":    "it needs a function that reads the server's log",
			"key-replay":     "the honest handshake is not admitted: HTTP/1.1 403 Forbidden",
			"ticket-replay":  "active attacks were not allowed",
			"origin-foreign": "",
		} {
			v := try(t, target, id)
			if (want == "") == (v.State == attack.Left) || want != "" && !strings.HasPrefix(v.Detail, want) {
				t.Errorf("%s: %+v, want %q", id, v, want)
			}
		}
		target.Token, target.Active = func() string { return "opaque" }, true
		for id, want := range map[string]string{
			"token-none":       "the token is no JWT",
			"token-expired":    "it needs a function that signs",
			"token-confusion":  "it needs a public key",
			"ticket-replay":    "it needs a function that issues tickets",
			"revoke-handshake": "it needs a function that revokes",
		} {
			if v := try(t, target, id); v.State != attack.Left || !strings.HasPrefix(v.Detail, want) {
				t.Errorf("%s: %+v, want %q", id, v, want)
			}
		}
	})
}

// A server that an attack has stopped is broken, even when it refused that attack.
func TestAServerThatDoesNotSurvive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var dead atomic.Bool
		target := served(t, func(w http.ResponseWriter, r *http.Request) {
			if dead.Load() {
				panic(http.ErrAbortHandler)
			}
			if len(r.Header) > 1000 {
				dead.Store(true)
				w.WriteHeader(431)
				return
			}
			admit(w, r)
		})
		target.Active = true
		v := try(t, prepared(t, target), "header-flood")
		if v.State != attack.Broken || !strings.Contains(v.Detail, "did not survive") {
			t.Errorf("%+v", v)
		}
	})
}

// A server that has had enough of us is no worse for that.
func TestAServerThatPutsUsOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var enough atomic.Bool
		target := served(t, func(w http.ResponseWriter, r *http.Request) {
			if enough.Load() {
				w.Header().Set("Retry-After", "60")
				w.WriteHeader(429)
				return
			}
			enough.Store(len(r.Header) > 1000)
			admit(w, r)
		})
		target.Active = true
		if v := try(t, prepared(t, target), "header-flood"); v.State != attack.Unclear || !strings.Contains(v.Detail, "put off") {
			t.Errorf("%+v", v)
		}
	})
}

func TestPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		open, most, begun := 0, 0, 0
		target := served(t, func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			begun++
			open++
			most = max(most, open)
			mu.Unlock()
			<-time.After(5 * time.Millisecond)
			mu.Lock()
			open--
			mu.Unlock()
			w.WriteHeader(403)
		})
		target.Active = true
		target.Pace = attack.Pace{Conns: 2, PerSecond: 1000, Total: 30}
		prepared(t, target)
		var left []string
		attack.Run(t.Context(), target, attack.All(), func(r attack.Result) {
			if r.Verdict.State == attack.Left {
				left = append(left, r.Attack.ID)
			}
		})
		if most > 2 || begun != 30 {
			t.Errorf("%d at once, %d in all; want 2 and 30", most, begun)
		}
		if !slices.Contains(left, "limit-sessions") {
			t.Errorf("300 sessions at once were tried; left: %q", left)
		}
	})
}

// The end of the context is the end of every attack.
func TestAnEndedContextEndsAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		target := prepared(t, served(t, admit))
		target.Active = true
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		began, n := time.Now(), 0
		attack.Run(ctx, target, attack.All(), func(r attack.Result) {
			n++
			if r.Verdict.State == attack.Broken {
				t.Errorf("%s: %+v", r.Attack.ID, r.Verdict)
			}
		})
		if took := time.Since(began); n != len(attack.All()) || took > 5*time.Second {
			t.Errorf("%d reports in %v", n, took)
		}
	})
}
