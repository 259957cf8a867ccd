package interop_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/wssecure/wssecure"
)

// TestPagesAroundGuardedSocket: a site with one socket, under each library.
func TestPagesAroundGuardedSocket(t *testing.T) {
	for _, st := range stacks {
		t.Run("K-23 "+st.name, func(t *testing.T) {
			t.Parallel()
			a := newApp()
			next := st.behind(t, a)
			r := startRig(t, func(g *wssecure.Guard) http.Handler {
				mux := http.NewServeMux()
				mux.Handle("/ws", logged(g.Handler(next)))
				mux.Handle("/open", next) // somebody forgot the guard
				mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<p>page") })
				return g.Pages(mux)
			})
			answer, c := r.ask(t, r.Handshake(r.issuer.Token(user)).Bytes())
			wantHead101(t, answer)
			wantEcho(t, c, "through")
			c.Close()
			r.wantClosedEvent(t, wssecure.ReasonPeer, 1006, wssecure.ByPeer)

			refused, _ := r.ask(t, r.handshake(user).Set("Origin", "https://evil.test").Bytes())
			if refused.Status != 403 || len(refused.Values("Content-Security-Policy")) != 1 ||
				strings.Contains(refused.Get("Content-Security-Policy"), "connect-src") || refused.Get("Referrer-Policy") != "" {
				t.Errorf("the inner guard's refusal: %s, %v", refused.StatusLine, refused.Header)
			}

			page, _ := r.ask(t, []byte("GET / HTTP/1.1\r\nHost: ws.example.com\r\n\r\n"))
			if page.Status != 200 || string(page.Body) != "<p>page" || page.Get("Referrer-Policy") == "" || len(page.Values(hsts)) != 1 {
				t.Errorf("the page: %s, %v", page.StatusLine, page.Header)
			}

			for len(a.saw) > 0 {
				<-a.saw
			}
			admitted := r.Guard.Stats().Admitted
			h := r.handshake(user)
			h.Target = "/open"
			open, _ := r.ask(t, h.Bytes())
			if open.Status < 200 || st.name != "gws" && open.Status < 400 {
				t.Errorf("a socket that no guard has judged: %s", open.StatusLine)
			}
			if got := open.Get("Sec-WebSocket-Accept"); got != "" {
				t.Errorf("%s with Sec-WebSocket-Accept %s", open.StatusLine, got)
			}
			if n := r.Guard.Stats().Admitted; n != admitted {
				t.Errorf("%d sessions more", n-admitted)
			}
			r.wantAllBack(t)
		})
	}
}

// TestPagesAloneHijack: K-07 to K-10 hold inside Pages, also where the request is an upgrade.
func TestPagesAloneHijack(t *testing.T) {
	r := startRig(t, func(g *wssecure.Guard) http.Handler {
		return g.Pages(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			for _, step := range []http.ResponseWriter{w, endOf(w)} {
				if conn, _, err := http.NewResponseController(step).Hijack(); err == nil {
					conn.Close()
					t.Errorf("%T gave the connection", step)
				}
			}
			endOf(w).WriteHeader(101)
		}))
	})
	for _, request := range [][]byte{
		r.handshake(user).Bytes(),
		[]byte("GET / HTTP/1.1\r\nHost: ws.example.com\r\n\r\n"),
	} {
		if answer, _ := r.ask(t, request); answer.Status != 500 {
			t.Errorf("%s, want 500", answer.StatusLine)
		}
		if e := r.WaitEvent(wssecure.EventRefused); e.Reason != wssecure.ReasonInternal {
			t.Errorf("event %s", e.Reason)
		}
	}
}
