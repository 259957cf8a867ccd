package wssecure_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/wssecure/wssecure"
	catalogue "github.com/wssecure/wssecure/internal/attack"
	"github.com/wssecure/wssecure/internal/probe"
	"github.com/wssecure/wssecure/wssecuretest"
)

// http2Server is a guard on a port that speaks HTTP/2 too, by a server of its own: enough of one to be attacked. Its zero
// value is sound.
type http2Server struct {
	endless bool // names no bound on streams
	greedy  bool // takes header fields without end
	tunnels bool // takes every CONNECT
}

func http2Mutants() []mutant {
	return []mutant{
		{"HTTP/2 without a bound on streams", []string{"http2-rapid-reset"}, http2Server{endless: true}.start},
		{"HTTP/2 without a bound on header fields", []string{"http2-continuation"}, http2Server{greedy: true}.start},
		{"an extended CONNECT is passed on", []string{"http2-connect"}, http2Server{tunnels: true}.start},
	}
}

// Each of them is found by one attack alone, and none of the three works where nothing is wrong.
func TestHTTP2AttacksTellMutantsApart(t *testing.T) {
	ids := []string{"http2-rapid-reset", "http2-continuation", "http2-connect"}
	for _, m := range append(http2Mutants(), mutant{"sound", []string{""}, http2Server{}.start}) {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			target := m.start(t)
			if err := target.Prepare(t.Context()); err != nil {
				t.Fatal(err)
			}
			for _, a := range named(t, ids) {
				want := catalogue.Held
				if a.ID == m.catches[0] {
					want = catalogue.Broken
				}
				if v := a.Try(t.Context(), target); v.State != want {
					t.Errorf("%s: %s %+v, want %s", a.ID, v.State, v, want)
				}
			}
		})
	}
}

func (h http2Server) start(t *testing.T) *catalogue.Target {
	guard := must(wssecure.New(wssecure.AllowOrigins(wssecuretest.Origin), wssecure.InsecureAllowAnonymous("mutant")))
	s := httptest.NewUnstartedServer(guard.ConnHandler(wssecuretest.Echo))
	s.TLS = &tls.Config{NextProtos: []string{"h2", "http/1.1"}}
	s.Config.TLSNextProto = map[string]func(*http.Server, *tls.Conn, http.Handler){"h2": func(_ *http.Server, conn *tls.Conn, _ http.Handler) { h.serve(conn) }}
	s.StartTLS()
	t.Cleanup(func() {
		s.Close()
		guard.Shutdown(context.Background())
	})
	return &catalogue.Target{
		URL: s.URL + "/ws", TLS: s.Client().Transport.(*http.Transport).TLSClientConfig.Clone(), Host: "example.com", Origin: wssecuretest.Origin, Active: true, Timeout: hang,
	}
}

// serve answers as long as the peer may go on.
func (h http2Server) serve(conn *tls.Conn) {
	defer conn.Close()
	preface := make([]byte, len("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))
	if _, err := io.ReadFull(conn, preface); err != nil {
		return
	}
	c := probe.New(conn)
	settings := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint16(nil, probe.H2ExtendedConnect), 1)
	if !h.endless {
		settings = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint16(settings, probe.H2MaxStreams), 100)
	}
	answer := func(f probe.H2Frame) { c.Send(probe.AppendH2(nil, f)) }
	answer(probe.H2Frame{Type: probe.H2Settings, Payload: settings})
	for taken := 0; ; {
		f, err := c.ReadH2(time.Now().Add(time.Minute))
		if err != nil {
			return
		}
		switch {
		case f.Type == probe.H2Ping:
			answer(probe.H2Frame{Type: probe.H2Ping, Flags: probe.H2Ack, Payload: f.Payload})
		case f.Type == probe.H2Continuation:
			if taken += len(f.Payload); taken > 64<<10 && !h.greedy {
				answer(probe.H2Frame{Type: probe.H2GoAway, Payload: make([]byte, 8)})
				return
			}
		case f.Type == probe.H2Headers && bytes.Contains(f.Payload, []byte("CONNECT")):
			status := "501"
			if h.tunnels {
				status = "200"
			}
			answer(probe.H2Frame{Type: probe.H2Headers, Flags: probe.H2EndHeaders, Stream: f.Stream, Payload: append([]byte{0x08, 3}, status...)})
		}
	}
}
