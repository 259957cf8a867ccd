package wssecure_test

import (
	"bytes"
	"fmt"
	"net/http"
	"runtime/pprof"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/internal/probe"
	"github.com/wssecure/wssecure/wssecuretest"
)

// prompt is what a refusal may take that asks nobody else.
const prompt = 50 * time.Millisecond

// promptly sends hs and wants an answer in time. A busy machine may be late, as
// often as it likes; who waits for a body that never comes is late each time.
func promptly(t *testing.T, s *wssecuretest.Server, hs *probe.Handshake) (*probe.Response, *probe.Conn) {
	t.Helper()
	var took time.Duration
	for deadline := time.Now().Add(hang); time.Now().Before(deadline); {
		c := s.Raw()
		start := time.Now()
		// The server may answer, and close, before it has read all of it.
		_ = c.Send(hs.Bytes())
		r, err := c.Response()
		took = time.Since(start)
		if err != nil {
			t.Fatalf("no answer: %v", err)
		}
		if took < prompt {
			return r, c
		}
	}
	t.Fatalf("answered after %v, want less than %v", took, prompt)
	return nil, nil
}

// A body that is announced and never sent neither delays the answer nor keeps
// the goroutine, whatever else is wrong with the handshake.
func TestWithheldBodies(t *testing.T) {
	for _, table := range handshakeTables {
		s := wssecuretest.NewServer(t, table.options...)
		for _, body := range []string{"Content-Length: 5", "Transfer-Encoding: chunked", "Content-Length: 34\r\nExpect: 100-continue"} {
			t.Run("H-19 W13 "+table.file+" "+body, func(t *testing.T) {
				var open sync.WaitGroup
				for _, row := range handshakeRows(t, table.file) {
					hs := row.apply(s.Handshake(s.Issuer.Token(row.name)))
					if row.reason == byNetHTTP || hs.Body != nil || strings.Contains(string(hs.Bytes()), "Content-Length") {
						continue
					}
					status, reason := 400, wssecure.ReasonBody
					if row.reason == wssecure.ReasonMethod || row.reason == wssecure.ReasonHTTPVersion {
						status, reason = row.status, row.reason
					}
					r, c := promptly(t, s, hs.Add(body))
					if r.Status != status || !strings.Contains(string(r.Body), "#"+string(reason)+`"`) {
						t.Errorf("%s: %s %s, want %d %s", row.name, r.StatusLine, r.Body, status, reason)
					}
					open.Go(func() {
						if err := c.AwaitEOF(hang); err != nil {
							t.Errorf("%s: %v", row.name, err)
						}
					})
				}
				open.Wait()
				wantNoServing(t)
			})
		}
		honest(t, s)
	}
}

func TestWithheldBodiesOfOrdinaryRequests(t *testing.T) {
	s := wssecuretest.NewServer(t)
	for _, method := range []string{"GET", "POST", "PUT"} {
		for _, body := range []string{"Content-Length: 5", "Transfer-Encoding: chunked"} {
			t.Run("H-09 H-19 "+method+" "+body, func(t *testing.T) {
				r, c := promptly(t, s, ordinary(method, "/ws").Add(body))
				wantProblem(t, s, r, wssecure.ReasonUpgradeRequired)
				if err := c.AwaitEOF(hang); err != nil {
					t.Error(err)
				}
				wantNoServing(t)
			})
		}
	}
}

// wantNoServing waits until no goroutine serves a request any more: those of
// admitted rows have left it too, for their session's own.
func wantNoServing(t *testing.T) {
	t.Helper()
	var stacks bytes.Buffer
	for deadline := time.Now().Add(hang); time.Now().Before(deadline); <-time.After(5 * time.Millisecond) {
		stacks.Reset()
		if err := pprof.Lookup("goroutine").WriteTo(&stacks, 1); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(stacks.String(), "net/http.(*conn).serve") {
			return
		}
	}
	t.Errorf("a goroutine still serves a refused request:\n%s", stacks.String())
}

// What stands behind a refused handshake is never read as a second request.
func TestPipelinedRequestIsNotServed(t *testing.T) {
	for name, change := range map[string]func(*probe.Handshake){
		"version":          func(hs *probe.Handshake) { hs.Set("Sec-WebSocket-Version", "8") },
		"method":           func(hs *probe.Handshake) { hs.Method = "OPTIONS" },
		"upgrade-required": func(hs *probe.Handshake) { hs.Del("Upgrade") },
		"body":             func(hs *probe.Handshake) { hs.Add("Content-Length: 5") },
		"chunked body":     func(hs *probe.Handshake) { hs.Add("Transfer-Encoding: chunked") },
		"empty chunks":     func(hs *probe.Handshake) { hs.Add("Transfer-Encoding: chunked"); hs.Body = []byte("0\r\n\r\n") },
		"host":             func(hs *probe.Handshake) { hs.Set("Host", "a..b") },
		"origin":           func(hs *probe.Handshake) { hs.Set("Origin", "https://evil.example") },
		"credential":       func(hs *probe.Handshake) { hs.Add("Authorization: Bearer x") },
		"token":            func(hs *probe.Handshake) { hs.Set("Authorization", "Bearer a.b.c") },
		"close and alive": func(hs *probe.Handshake) {
			hs.Set("Connection", "keep-alive, Upgrade").Set("Sec-WebSocket-Version", "8")
		},
	} {
		t.Run("H-33 W12 "+name, func(t *testing.T) {
			admin := make(chan string, 1)
			issuer := wssecuretest.NewIssuer(t, "")
			s := wssecuretest.Start(t, wssecuretest.Config{
				Options: []wssecure.Option{wssecure.AllowOrigins(wssecuretest.Origin), issuer.Option()},
				Handler: func(g *wssecure.Guard) http.Handler {
					mux := http.NewServeMux()
					mux.Handle("/ws", g.ConnHandler(wssecuretest.Echo))
					mux.HandleFunc("/", func(_ http.ResponseWriter, r *http.Request) { admin <- r.URL.Path })
					return mux
				},
			})
			hs := s.Handshake(issuer.Token("alice"))
			change(hs)
			hs.Body = append(hs.Body, "GET /admin HTTP/1.1\r\nHost: ws.example.com\r\n\r\n"...)
			r, c := promptly(t, s, hs)
			if r.Status < 400 || r.Get("Connection") != "close" {
				t.Errorf("%s, Connection %q", r.StatusLine, r.Values("Connection"))
			}
			if second, err := c.Response(); err == nil {
				t.Errorf("a second answer: %s", second.StatusLine)
			}
			if err := c.AwaitEOF(hang); err != nil {
				t.Error(err)
			}
			select {
			case path := <-admin:
				t.Errorf("%s was served", path)
			default:
			}
		})
	}
}

// Long values and many lines cost time in proportion to their bytes.
func TestFloodsOfBlanksAndHeaders(t *testing.T) {
	s := wssecuretest.NewServer(t, wssecure.AllowSubprotocols("chat"), wssecure.AllowCompression())
	many := func(n int) func(*probe.Handshake) {
		return func(hs *probe.Handshake) {
			for i := range n {
				hs.Add(fmt.Sprintf("X%d: y", i))
			}
		}
	}
	line := func(name, value string) func(*probe.Handshake) {
		return func(hs *probe.Handshake) { hs.Add(name + ": " + value) }
	}
	for name, row := range map[string]struct {
		change func(*probe.Handshake)
		want   []int
	}{
		"H-26 10,000 blanks between names": {line("Sec-WebSocket-Protocol", "chat,"+strings.Repeat(" ", 10_000)+"b"), []int{101}},
		"H-26 10,000 blanks in a name":     {line("Sec-WebSocket-Protocol", "b"+strings.Repeat(" ", 10_000)+"x"), []int{400}},
		"H-26 W2 50,000 blanks in a name":  {line("Sec-WebSocket-Protocol", "b"+strings.Repeat(" ", 50_000)+"x"), []int{400}},
		"H-26 10,000 TABs in an offer":     {line("Sec-WebSocket-Extensions", "a;b"+strings.Repeat("\t", 8_000)+"=c"), []int{101}},
		"H-26 50,000 blanks in Connection": {func(hs *probe.Handshake) { hs.Set("Connection", "x"+strings.Repeat(" ", 50_000)+", Upgrade") }, []int{101}},
		"H-26 25,000 commas in Upgrade":    {func(hs *probe.Handshake) { hs.Set("Upgrade", strings.Repeat("w,", 25_000)+"websocket") }, []int{101}},
		"H-26 50,000 blanks in Cookie":     {line("Cookie", "a="+strings.Repeat(" ", 50_000)+";"), []int{101}},
		"H-26 W3 2,000 headers":            {many(2_000), []int{101}},
		"H-26 W3 5,000 headers":            {many(5_000), []int{101, 431}},
		"H-26 W3 50,000 headers":           {many(50_000), []int{431}},
		"H-26 5,000 Connection lines": {func(hs *probe.Handshake) {
			for range 5_000 {
				hs.Add("Connection: x")
			}
		}, []int{101, 431}},
	} {
		t.Run(name, func(t *testing.T) {
			var r *probe.Response
			for deadline := time.Now().Add(hang); time.Now().Before(deadline); {
				// A nonce is used once.
				hs := s.Handshake(s.Issuer.Token(name))
				row.change(hs)
				c := s.Raw()
				start := time.Now()
				_ = c.Send(hs.Bytes())
				answer, err := c.Response()
				if err != nil {
					t.Fatal(err)
				}
				r = answer
				if time.Since(start) < prompt {
					break
				}
				r.Status = 0
			}
			ok := false
			for _, status := range row.want {
				ok = ok || r.Status == status
			}
			if !ok {
				t.Errorf("%s within %v, want one of %v", r.StatusLine, prompt, row.want)
			}
			honest(t, s)
		})
	}
}
