package attack

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/wssecure/wssecure/internal/probe"
	"github.com/wssecure/wssecure/internal/quote"
)

// This file is handshakes that RFC 6455 or RFC 9112 forbid: what one server takes for a handshake and another does not is
// how requests are smuggled past the first.

func handshakeAttacks() []Attack {
	set := func(name, value string) func(*Target, *probe.Handshake) {
		return func(_ *Target, h *probe.Handshake) { h.Set(name, value) }
	}
	del := func(name string) func(*Target, *probe.Handshake) {
		return func(_ *Target, h *probe.Handshake) { h.Del(name) }
	}
	add := func(lines ...string) func(*Target, *probe.Handshake) {
		return func(_ *Target, h *probe.Handshake) { h.Lines = append(h.Lines, lines...) }
	}
	return each(Attack{
		Group:    "handshake",
		Refs:     []string{"RFC 6455 4.2.1"},
		Why:      "a proxy and the server that read one request differently can be played off against each other (request smuggling)",
		Fix:      "refuse every handshake that RFC 6455 section 4.2.1 does not describe",
		Option:   "the default",
		Severity: Low,
	},
		changed("method-post", "a handshake with POST", Low, "ATTACKS W10", func(_ *Target, h *probe.Handshake) { h.Method = "POST" }),
		changed("http-1-0", "a handshake over HTTP/1.0", Low, "ATTACKS W10", func(_ *Target, h *probe.Handshake) { h.Proto = "HTTP/1.0" }),
		changed("upgrade-other", "Upgrade: websockets", Low, "ATTACKS W10", set("Upgrade", "websockets")),
		changed("upgrade-none", "no Upgrade, all else of a handshake", Low, "ATTACKS W10", del("Upgrade")),
		changed("connection-none", "no Connection: Upgrade, which a proxy would have removed", Medium, "ATTACKS W10", del("Connection")),
		changed("version-draft", "version 8 of a draft", Low, "CVE-2026-54466", set("Sec-WebSocket-Version", "8")),
		changed("version-none", "no version", Low, "ATTACKS W5", del("Sec-WebSocket-Version")),
		changed("version-list", "two versions in one line", Low, "ATTACKS W15", set("Sec-WebSocket-Version", "13, 8")),
		changed("version-twice", "two version lines", Low, "ATTACKS W15", add("Sec-WebSocket-Version: 8")),
		changed("draft-hixie-76", "the handshake of a draft from 2010", Low, "ATTACKS W5", func(_ *Target, h *probe.Handshake) {
			h.Del("Sec-WebSocket-Version").Del("Sec-WebSocket-Key")
			h.Add("Sec-WebSocket-Key1: 4 @1  46546xW%0l 1 5").Add("Sec-WebSocket-Key2: 12998 5 Y3 1  .P00")
			h.Body = []byte("^n:ds[4U")
		}),
		changed("key-none", "no key", Low, "ATTACKS W15", del("Sec-WebSocket-Key")),
		changed("key-short", "a key of three bytes", Low, "ATTACKS W15", set("Sec-WebSocket-Key", "AAAA")),
		changed("key-text", "a key that is no base64", Low, "ATTACKS W15", set("Sec-WebSocket-Key", "this is no base64 text!!")),
		changed("key-twice", "two keys", Low, "ATTACKS W15", func(_ *Target, h *probe.Handshake) { h.Add("Sec-WebSocket-Key: " + newKey()) }),
		Attack{
			ID: "key-replay", Title: "a whole handshake again, nonce and credential included", Severity: Low, Refs: []string{"ATTACKS S6", "CWE-294"},
			Why:    "whoever has recorded a handshake, from a log or a proxy, opens a socket with it",
			Fix:    "remember the nonces of admitted handshakes for some minutes",
			Option: "the default; LimitReplay",
			Needs:  NeedSession, Run: replay,
		},
		changed("host-none", "no Host", Low, "RFC 9112 3.2", del("Host")),
		changed("host-twice", "two Host lines", Medium, "RFC 9112 3.2", add("Host: evil.example")),
		changed("host-list", "two names in one Host line", Low, "RFC 9112 3.2", func(t *Target, h *probe.Handshake) { h.Set("Host", t.endpoint.host+",evil.example") }),
		changed("host-port", "a Host with a port that is none", Low, "RFC 9110 7.2", func(t *Target, h *probe.Handshake) { h.Set("Host", t.endpoint.name+":99999") }),
		changed("line-blank-colon", "a blank before the colon of a line", Medium, "RFC 9112 5.1", add("X-Any : x")),
		changed("line-nul", "a NUL in a value", Medium, "RFC 9110 5.5", add("X-Any: a\x00b")),
		changed("line-cr", "a lone CR in a value", Medium, "RFC 9110 5.5", add("X-Any: a\rb")),
		changed("length-and-chunked", "Content-Length beside Transfer-Encoding", Medium, "CWE-444", func(_ *Target, h *probe.Handshake) {
			h.Add("Content-Length: 5").Add("Transfer-Encoding: chunked")
			h.Body = []byte("0\r\n\r\n")
		}),
		stalled("body-withheld", "a body that is declared and never sent", func(h *probe.Handshake) { h.Add("Content-Length: 34") }),
		stalled("body-chunked", "a chunked body that is never sent", func(h *probe.Handshake) { h.Add("Transfer-Encoding: chunked") }),
		stalled("body-withheld-refused", "a refused handshake with a body that is never sent", func(h *probe.Handshake) {
			h.Set("Sec-WebSocket-Version", "8").Add("Content-Length: 34")
		}),
		Attack{
			ID: "pipelined", Title: "a refused handshake with a second request behind it", Severity: Medium, Refs: []string{"CWE-444", "ATTACKS W12"},
			Why:    "a proxy that takes the refused upgrade for a tunnel passes the second request on unseen",
			Fix:    "close the connection after each refused upgrade",
			Option: "the default",
			Run:    pipelined,
		},
		Attack{
			ID: "subprotocol-unoffered", Title: "no subprotocol offered", Severity: Low, Refs: []string{"RFC 6455 4.2.2"}, Needs: NeedSession,
			Why: "the client must fail the connection, and one that does not speaks another protocol than the server",
			Fix: "answer with a subprotocol that was offered, or with none", Option: "AllowSubprotocols",
			Run: func(ctx context.Context, t *Target) Verdict {
				h := t.Honest()
				if t.Place.Kind != InSubprotocol {
					h.Del("Sec-WebSocket-Protocol")
				}
				return t.mustNotAnswer(ctx, "no Sec-WebSocket-Protocol but the token's", h, "Sec-WebSocket-Protocol", func(v string) bool { return !strings.Contains(line(h, "Sec-WebSocket-Protocol"), v) })
			},
		},
		changed("subprotocol-twice", "the same subprotocol twice", Low, "RFC 6455 11.3.4", func(_ *Target, h *probe.Handshake) {
			h.Add("Sec-WebSocket-Protocol: x-a, x-a")
		}),
		changed("subprotocol-empty", "a list of subprotocols with an empty one", Low, "RFC 6455 11.3.4", func(_ *Target, h *probe.Handshake) {
			h.Add("Sec-WebSocket-Protocol: x-a,,x-b")
		}),
		quick("subprotocol-blanks", "50,000 blanks in the list of subprotocols", "CVE-2021-32640", func(h *probe.Handshake) {
			h.Add("Sec-WebSocket-Protocol: x-b" + strings.Repeat(" ", 50_000) + "x")
		}),
		quick("extension-escapes", "an extension whose quoted value never ends", "CVE-2020-7662", func(h *probe.Handshake) {
			h.Add(`Sec-WebSocket-Extensions: a;b="` + strings.Repeat(`\c`, 4000))
		}),
		quick("extension-commas", "extensions of 8,000 commas", "ATTACKS W4", func(h *probe.Handshake) {
			h.Add("Sec-WebSocket-Extensions: " + strings.Repeat(",", 8000))
		}),
		quick("header-flood", "2,000 header lines", "CVE-2024-37890", func(h *probe.Handshake) {
			for i := range 2000 {
				h.Add(fmt.Sprintf("X-%d: 1", i))
			}
		}),
		Attack{
			ID: "extension-unoffered", Title: "no extension offered", Severity: Low, Refs: []string{"RFC 6455 9.1"}, Needs: NeedSession,
			Why: "the client must fail the connection, and one that does not reads garbage",
			Fix: "negotiate an extension only when it was offered",
			Run: func(ctx context.Context, t *Target) Verdict {
				return t.mustNotAnswer(ctx, "no Sec-WebSocket-Extensions", t.Honest(), "Sec-WebSocket-Extensions", func(string) bool { return true })
			},
		},
		Attack{
			ID: "extension-parameters", Title: "permessage-deflate with window bits that do not exist", Severity: Low, Refs: []string{"CVE-2026-2229", "RFC 7692 7.1"}, Needs: NeedSession,
			Why: "a compressor that is set up with such a window fails, or takes the process along",
			Fix: "decline an offer with a parameter out of range",
			Run: func(ctx context.Context, t *Target) Verdict {
				h := t.Honest().Set("Sec-WebSocket-Extensions", "permessage-deflate; server_max_window_bits=99; client_max_window_bits=0")
				return t.mustNotAnswer(ctx, line(h, "Sec-WebSocket-Extensions"), h, "Sec-WebSocket-Extensions", func(string) bool { return true })
			},
		},
	)
}

// prompt is how soon a hostile handshake must be answered, and its connection ended.
const prompt = 2 * time.Second

// soon is prompt within one step.
func (t *Target) soon() time.Duration { return t.within(min(prompt, t.step())) }

// stalled is a handshake that promises a body and sends none.
func stalled(id, title string, change func(*probe.Handshake)) Attack {
	return Attack{
		ID: id, Title: title, Severity: Medium, Refs: []string{"ATTACKS W13", "CWE-400"},
		Why:    "the server waits for a body that never comes: each such connection holds a goroutine and its buffers",
		Fix:    "refuse a handshake with a body at once, set a read deadline and close the connection",
		Option: "the default",
		Run: func(ctx context.Context, t *Target) Verdict {
			h := t.Honest()
			before := h.Clone()
			change(h)
			sent := difference(before, h)
			l, err := t.dial(ctx)
			if err != nil {
				return unclear(sent, t.got(answer{err: err}), "no connection")
			}
			l.Timeout = t.soon()
			l, a := l.handshake(h)
			switch {
			case a.closed():
				return held(sent, t.got(a))
			case l == nil:
				return broken(sent, t.got(a), "nothing came back within %v", t.soon())
			}
			defer l.Close()
			v := t.refusal(sent, a)
			if v.State == Held && l.AwaitEOF(t.soon()) != nil {
				return broken(sent, v.Got, "the connection was still open %v after the answer", t.soon())
			}
			return v
		},
	}
}

// quick is a handshake that is expensive to parse for a careless server. It may be admitted.
func quick(id, title, ref string, change func(*probe.Handshake)) Attack {
	return Attack{
		ID: id, Title: title, Severity: Medium, Refs: []string{ref, "CWE-1333"}, Active: true,
		Why:    "one request keeps a processor busy for seconds",
		Fix:    "parse headers in linear time, and bound their size",
		Option: "the default, and Harden",
		Run: func(ctx context.Context, t *Target) Verdict {
			h := t.Honest()
			change(h)
			a := t.ask(ctx, h)
			if a.response == nil && !a.closed() {
				return broken(title, t.got(a), "no answer")
			}
			if a.took > t.within(prompt) {
				return broken(title, t.got(a), "the answer took %v", a.took.Round(time.Millisecond))
			}
			return held(title, t.got(a))
		},
	}
}

// mustNotAnswer wants a 101, or a refusal, without a header of that name whose value is wrong.
func (t *Target) mustNotAnswer(ctx context.Context, sent string, h *probe.Handshake, name string, wrong func(string) bool) Verdict {
	a := t.askTwice(ctx, h)
	if a.response == nil {
		if a.closed() {
			return held(sent, t.got(a))
		}
		return unclear(sent, t.got(a), "no answer")
	}
	for _, value := range a.response.Values(name) {
		if a.status() == 101 && wrong(value) {
			return broken(sent, quote.Cut(t.redact(name+": "+value), longestGot), "it was negotiated all the same")
		}
	}
	return held(sent, t.got(a))
}

func replay(ctx context.Context, t *Target) Verdict {
	h := t.Honest()
	if a := t.askTwice(ctx, h); !a.admitted() {
		return unclear("an honest handshake", t.got(a), "it was not admitted the first time")
	}
	return t.refusal("the same bytes for a second time", t.ask(ctx, h))
}

func pipelined(ctx context.Context, t *Target) Verdict {
	const sent = "Sec-WebSocket-Version: 99, and GET / behind it"
	h := t.Honest().Set("Sec-WebSocket-Version", "99")
	h.Body = []byte("GET / HTTP/1.1\r\nHost: " + t.endpoint.host + "\r\n\r\n")
	l, a := t.open(ctx, h)
	if l == nil {
		return t.refusal(sent, a)
	}
	defer l.Close()
	if v := t.refusal(sent, a); v.State != Held {
		return v
	}
	l.Timeout = t.soon()
	second, err := l.Response()
	if err == nil {
		return broken(sent, t.got(a)+" | and then "+t.got(answer{response: second}), "the second request was answered on the connection of a refused upgrade")
	}
	if e := (answer{err: err}); e.timedOut() {
		return broken(sent, t.got(a), "the connection was still open %v after the refusal", t.soon())
	}
	return held(sent, t.got(a))
}
