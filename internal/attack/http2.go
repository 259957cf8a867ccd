package attack

import (
	"context"
	"crypto/tls"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/wssecure/wssecure/internal/probe"
)

// This file is the endpoint's port, spoken to in HTTP/2: what stands there in front of the WebSockets is another server,
// with floods of its own, and with another way to open a socket.

func http2Attacks() []Attack {
	return slices.Concat(
		each(Attack{Group: "handshake", Severity: Critical, Refs: []string{"ATTACKS P3", "RFC 8441 4", "CWE-1385"}},
			Attack{
				ID: "http2-connect", Title: "a socket of a foreign page by the extended CONNECT of HTTP/2",
				Why: "a check that knows the handshake of HTTP/1.1 passes on this one, which has neither Upgrade nor a key",
				Fix: "offer http/1.1 alone where sockets are served, or judge an extended CONNECT as every handshake", Option: "the default",
				Run: extendedConnect,
			}),
		each(Attack{Group: "floods", Severity: High, Active: true, Refs: []string{"ATTACKS P2", "CWE-770"}},
			Attack{
				ID: "http2-rapid-reset", Title: "2,000 requests of HTTP/2, each taken back at once", Refs: []string{"CVE-2023-44487"},
				Why: "requests that are taken back count for no limit of streams, and each has cost the server its work",
				Fix: "offer http/1.1 alone where sockets are served, or bound streams, those taken back included", Option: "TLSConfig offers http/1.1 alone; Harden leaves the bounds of net/http",
				Run: rapidReset,
			},
			Attack{
				ID: "http2-continuation", Title: "4 MiB of header fields in CONTINUATION frames", Refs: []string{"CVE-2023-45288"},
				Why: "a request that has not begun yet counts for no limit, is in no log, and takes memory and time without end",
				Fix: "end a connection of HTTP/2 whose header fields pass the bound", Option: "Harden: MaxHeaderBytes",
				Run: continuations,
			}),
	)
}

// http1Only is what is said of a server without HTTP/2.
const http1Only = "the port speaks HTTP/1.1 alone"

// dialHTTP2 connects and reads the server's settings. Where it returns no link, the verdict says why: a port without
// HTTP/2 holds.
func (t *Target) dialHTTP2(ctx context.Context) (*link, probe.H2Frame, Verdict) {
	config := t.endpoint.tls
	if config != nil {
		config = config.Clone()
		config.NextProtos = []string{"h2", "http/1.1"}
	}
	const sent = "the preface of HTTP/2"
	l, err := t.dialBy(ctx, t.LocalAddr, config)
	if err != nil {
		return nil, probe.H2Frame{}, unclear(sent, t.got(answer{err: err}), "no connection")
	}
	if tc, ok := l.NetConn().(*tls.Conn); ok && tc.ConnectionState().NegotiatedProtocol != "h2" {
		l.Close()
		return nil, probe.H2Frame{}, held("an offer of h2 in TLS", http1Only)
	}
	l.Send(probe.H2Preface()) // an error shows as the end
	f, err := l.ReadH2(time.Now().Add(t.step()))
	if err != nil || f.Type != probe.H2Settings {
		l.Close()
		return nil, f, held(sent, http1Only)
	}
	return l, f, Verdict{}
}

// extendedConnect asks for a socket as a page elsewhere might make a browser ask.
func extendedConnect(ctx context.Context, t *Target) Verdict {
	if t.ask(ctx, t.Honest().Set("Origin", evilOrigin)).admitted() {
		return left("a foreign Origin is admitted over HTTP/1.1 too, see origin-foreign")
	}
	l, _, v := t.dialHTTP2(ctx)
	if l == nil {
		return v
	}
	defer l.Close()
	block := t.fields("CONNECT", [2]string{":protocol", "websocket"})
	block = probe.AppendH2Field(block, "origin", evilOrigin)
	block = probe.AppendH2Field(block, "sec-websocket-version", "13")
	l.Send(probe.AppendH2(nil, probe.H2Frame{Type: probe.H2Headers, Flags: probe.H2EndHeaders, Stream: 1, Payload: block}))
	const sent = ":method CONNECT, :protocol websocket, origin " + evilOrigin
	for end := time.Now().Add(t.step()); ; {
		f, err := l.ReadH2(end)
		switch {
		case (answer{err: err}).timedOut():
			return unclear(sent, "no answer", "")
		case err != nil || f.Type == probe.H2GoAway:
			return held(sent, "the connection was ended")
		case f.Type == probe.H2Reset:
			return held(sent, "the stream was reset")
		case f.Type != probe.H2Headers || f.Status()/100 == 1:
			continue
		case f.Status() == 0:
			return unclear(sent, "an answer", "its status cannot be read")
		case f.Status()/100 == 2:
			return broken(sent, fmt.Sprintf("status %d", f.Status()), "it was taken")
		}
		return held(sent, fmt.Sprintf("status %d", f.Status()))
	}
}

// fields begins a block of header fields for the endpoint.
func (t *Target) fields(method string, more ...[2]string) []byte {
	scheme := "http"
	if t.endpoint.secure {
		scheme = "https"
	}
	var block []byte
	for _, f := range append([][2]string{{":method", method}, {":scheme", scheme}, {":path", t.endpoint.target}, {":authority", t.endpoint.host}}, more...) {
		block = probe.AppendH2Field(block, f[0], f[1])
	}
	return block
}

// mostStreams is what a server may allow at once: ten times what RFC 9113 section 5.1.2 asks for.
const mostStreams = 1000

func rapidReset(ctx context.Context, t *Target) Verdict {
	l, settings, v := t.dialHTTP2(ctx)
	if l == nil {
		return v
	}
	defer l.Close()
	block := t.fields("GET")
	cancel := []byte{0, 0, 0, 8}
	var b []byte
	for stream := uint32(1); stream < 2*2000; stream += 2 {
		b = probe.AppendH2(b, probe.H2Frame{Type: probe.H2Headers, Flags: probe.H2EndHeaders | probe.H2EndStream, Stream: stream, Payload: block})
		b = probe.AppendH2(b, probe.H2Frame{Type: probe.H2Reset, Stream: stream, Payload: cancel})
	}
	const sent = "2,000 times HEADERS and RST_STREAM"
	switch e := l.pourHTTP2(b); {
	case e.over():
		return held(sent, "the connection was ended")
	case !e.alive:
		return held(sent, "the server took its time: no answer to a ping behind it within "+worked.String())
	}
	if most, given := settings.Setting(probe.H2MaxStreams); !given || most > mostStreams {
		return broken(sent, "all were taken, and a ping behind them was answered", "the server names no bound on streams, or none to speak of")
	}
	return held(sent, "a ping behind it was answered, and streams are bounded")
}

func continuations(ctx context.Context, t *Target) Verdict {
	l, _, v := t.dialHTTP2(ctx)
	if l == nil {
		return v
	}
	defer l.Close()
	var piece []byte
	for len(piece) < 15<<10 {
		piece = probe.AppendH2Field(piece, "x-"+canary(), strings.Repeat("a", 1000))
	}
	b := probe.AppendH2(nil, probe.H2Frame{Type: probe.H2Headers, Flags: probe.H2EndStream, Stream: 1, Payload: t.fields("GET")})
	for len(b) < 4<<20 {
		b = probe.AppendH2(b, probe.H2Frame{Type: probe.H2Continuation, Stream: 1, Payload: piece})
	}
	b = probe.AppendH2(b, probe.H2Frame{Type: probe.H2Continuation, Flags: probe.H2EndHeaders, Stream: 1})
	const sent = "HEADERS, and 4 MiB of CONTINUATION"
	switch e := l.pourHTTP2(b); {
	case e.over():
		return held(sent, "the connection was ended")
	case e.alive:
		return broken(sent, "all of it was taken, and a ping behind it was answered", "there is no end to it")
	}
	return held(sent, "the server took its time: no answer to a ping behind it within "+worked.String())
}

// pourHTTP2 sends b and a ping behind it while it reads what comes back.
func (l *link) pourHTTP2(b []byte) ending {
	payload := []byte("8 octets")
	go l.Send(probe.AppendH2(b, probe.H2Frame{Type: probe.H2Ping, Payload: payload}))
	for end := time.Now().Add(worked); ; {
		f, err := l.ReadH2(end)
		switch {
		case (answer{err: err}).timedOut():
			return ending{}
		case err != nil || f.Type == probe.H2GoAway:
			return ending{cut: true}
		case f.Type == probe.H2Ping && f.Flags&probe.H2Ack != 0 && string(f.Payload) == string(payload):
			return ending{alive: true}
		}
	}
}
