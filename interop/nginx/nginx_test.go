package nginx_test

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/internal/logbook"
	"github.com/wssecure/wssecure/internal/probe"
	"github.com/wssecure/wssecure/wssecuretest"
)

const (
	client    = "127.0.0.9"
	neighbour = "127.0.0.8"
)

// startGuard is a guard that ends no TLS.
func startGuard(t *testing.T, more ...wssecure.Option) (*wssecuretest.Server, *logbook.Book) {
	t.Helper()
	log, issuer := &logbook.Book{}, wssecuretest.NewIssuer(t, "")
	s := wssecuretest.Start(t, wssecuretest.Config{Plaintext: true, Options: append([]wssecure.Option{
		wssecure.AllowOrigins(wssecuretest.Origin), issuer.Option(), wssecure.SetLogger(log.Logger()),
	}, more...)})
	s.Issuer = issuer
	return s, log
}

// trusting believes the nginx of the tests alone.
func trusting(header string) wssecure.Option { return wssecure.TrustProxies(header, "127.0.0.1/32") }

// knock sends a handshake of alice's with more lines, and reads the answer.
func knock(t *testing.T, s *wssecuretest.Server, c *probe.Conn, lines ...string) *probe.Response {
	t.Helper()
	var nonce [16]byte
	rand.Read(nonce[:])
	hs := s.Handshake(s.Issuer.Token("alice")).Set("Sec-WebSocket-Key", base64.StdEncoding.EncodeToString(nonce[:]))
	for _, line := range lines {
		hs.Add(line)
	}
	if err := c.Send(hs.Bytes()); err != nil {
		t.Fatal(err)
	}
	r, err := c.Response()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func want(t *testing.T, r *probe.Response, status int, reason wssecure.Reason) {
	t.Helper()
	if r.Status != status || !strings.Contains(string(r.Body), string(reason)) {
		t.Fatalf("status %d, want %d %s: %s", r.Status, status, reason, r.Body)
	}
}

// forgeries are what a client may send to be somebody else.
var forgeries = []string{
	"X-Forwarded-For: 192.0.2.1", "X-Forwarded-For: 127.0.0.1, 127.0.0.1", "X-Forwarded-For: 192.0.2.1, unknown", "X-Forwarded-For:",
	"Forwarded: for=192.0.2.1;proto=https", `Forwarded: for="[2001:db8::1]:80"`, `Forwarded: for=192.0.2.1;by="`, `Forwarded: for="192.0.2.1, for=`,
	"X-Real-IP: 192.0.2.1", "CF-Connecting-IP: 192.0.2.1", "True-Client-IP: 192.0.2.1", "X-Client-IP: 192.0.2.1", "Fastly-Client-IP: 192.0.2.1",
	"X-Forwarded-Proto: https", "X-Forwarded-Host: evil.example", "Via: 1.1 evil",
}

func TestBehindNginx(t *testing.T) {
	for _, row := range []struct{ header, sends string }{
		{"X-Forwarded-For", appended},
		{"X-Real-IP", replaced},
		{"Forwarded", standard},
	} {
		t.Run(row.header, func(t *testing.T) {
			s, _ := startGuard(t, trusting(row.header), wssecure.LimitConns(wssecure.BySubject(), 1000))
			f := startNginx(t, s, row.sends)
			t.Run("L-32 the client's address, and a socket that works", func(t *testing.T) {
				c := f.from(client)
				r := knock(t, s, c)
				want(t, r, 101, "")
				if r.Get("Strict-Transport-Security") == "" {
					t.Error("the 101 has no HSTS: nginx ends TLS")
				}
				e := s.WaitEvent(wssecure.EventOpened)
				if e.ClientIP.String() != client || e.PeerIP.String() != "127.0.0.1" {
					t.Errorf("client %s, peer %s", e.ClientIP, e.PeerIP)
				}
				message := strings.Repeat("x", 60_000)
				if err := c.SendFrame(probe.Message(probe.Text, []byte(message))); err != nil {
					t.Fatal(err)
				}
				f, err := c.ReadFrame()
				if err != nil || string(f.Payload) != message {
					t.Fatalf("%d bytes came back, %v", len(f.Payload), err)
				}
				if _, err := s.Guard.Revoke(context.Background(), wssecure.SessionID(e.SessionID), "a test"); err != nil {
					t.Fatal(err)
				}
				if code, text, err := c.AwaitClose(); code != 3000 || text != "revoked" {
					t.Errorf("close %d %q, %v", code, text, err)
				}
			})
			for _, forgery := range forgeries {
				t.Run("L-06 L-35 "+forgery, func(t *testing.T) {
					want(t, knock(t, s, f.from(client), forgery), 101, "")
					e := s.WaitEvent(wssecure.EventOpened)
					if e.ClientIP.String() != client && !(row.header == "Forwarded" && strings.Contains(forgery, `"`) && e.ClientIP == e.PeerIP) {
						t.Errorf("client %s, want %s", e.ClientIP, client)
					}
					// A client that breaks the quotes of the list it is appended to is the proxy's,
					// never one of its own choice.
				})
			}
			t.Run("T-29 plaintext at nginx, whatever the client says", func(t *testing.T) {
				want(t, knock(t, s, f.inPlain(client)), 403, wssecure.ReasonTransport)
				want(t, knock(t, s, f.inPlain(client), "X-Forwarded-Proto: https"), 403, wssecure.ReasonTransport)
			})
			t.Run("past nginx", func(t *testing.T) {
				c := f.dial(s.Addr, client, nil)
				want(t, knock(t, s, c, row.header+": 192.0.2.1", "X-Forwarded-Proto: https"), 403, wssecure.ReasonTransport)
				if e := s.WaitEvent(wssecure.EventRefused); e.ClientIP.IsValid() && e.ClientIP.String() == "192.0.2.1" {
					t.Errorf("client %s is believed", e.ClientIP)
				}
			})
		})
	}
}

func TestLimitsBehindNginx(t *testing.T) {
	t.Run("a ban is the client's alone", func(t *testing.T) {
		s, _ := startGuard(t, trusting("X-Forwarded-For"))
		f := startNginx(t, s, appended)
		if err := s.Guard.Ban(context.Background(), wssecure.Network(netip.MustParsePrefix(client+"/32")), time.Hour, "a test"); err != nil {
			t.Fatal(err)
		}
		r := knock(t, s, f.from(client), "X-Forwarded-For: "+neighbour)
		want(t, r, 403, wssecure.ReasonBanned)
		if r.Get("Retry-After") == "" {
			t.Error("no Retry-After")
		}
		want(t, knock(t, s, f.from(neighbour)), 101, "")
	})
	t.Run("a budget is the client's alone, and no header gives another", func(t *testing.T) {
		s, _ := startGuard(t, trusting("X-Forwarded-For"), wssecure.LimitHandshakes(wssecure.ByIP(), wssecure.Rate{N: 1, Per: time.Hour, Burst: 3}))
		f := startNginx(t, s, appended)
		noToken := func(from string, i int) *probe.Response {
			c := f.from(from)
			hs := s.Handshake("").Add(fmt.Sprintf("X-Forwarded-For: 192.0.2.%d", i))
			if err := c.Send(hs.Bytes()); err != nil {
				t.Fatal(err)
			}
			r, err := c.Response()
			if err != nil {
				t.Fatal(err)
			}
			return r
		}
		for i := range 3 {
			want(t, noToken(client, i), 401, wssecure.ReasonTokenMissing)
		}
		for i := range 5 {
			want(t, noToken(client, 10+i), 429, wssecure.ReasonRate)
		}
		want(t, noToken(neighbour, 1), 401, wssecure.ReasonTokenMissing)
	})
}

// What the operator is told who has not named the proxy yet.
func TestHintsBehindNginx(t *testing.T) {
	t.Run("T-29 plaintext-behind-proxy", func(t *testing.T) {
		s, log := startGuard(t)
		f := startNginx(t, s, appended)
		for range 3 {
			want(t, knock(t, s, f.from(client)), 403, wssecure.ReasonTransport)
			if e := s.WaitEvent(wssecure.EventRefused); e.Hint != "plaintext-behind-proxy" || e.ClientIP.String() != "127.0.0.1" {
				t.Errorf("event %+v", e)
			}
		}
		const line = `plaintext from 127.0.0.1 with X-Forwarded-Proto \"https\": if that is your proxy, add TrustProxies(...)`
		if n := strings.Count(log.String(), line); n != 1 {
			t.Errorf("%d lines with the hint, want 1: %s", n, log)
		}
	})
	t.Run("U-15 unlisted-forwarder", func(t *testing.T) {
		s, log := startGuard(t, wssecure.InsecureAllowPlaintext("a test"))
		f := startNginx(t, s, appended)
		for range 3 {
			want(t, knock(t, s, f.from(client)), 101, "")
			if e := s.WaitEvent(wssecure.EventOpened); e.ClientIP.String() != "127.0.0.1" {
				t.Errorf("client %s, want the peer", e.ClientIP)
			}
		}
		if n := strings.Count(log.String(), "unlisted-forwarder: 127.0.0.1 sends forwarding headers"); n != 1 {
			t.Errorf("%d lines with the hint, want 1: %s", n, log)
		}
	})
}
