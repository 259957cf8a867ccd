package attack

import (
	"context"
	"fmt"
	"strings"

	"github.com/wssecure/wssecure/internal/probe"
)

// This file is handshakes written so that what checks them takes them for something else, and what answers them does not.

func disguiseAttacks() []Attack {
	return each(Attack{
		Group: "handshake", Refs: []string{"RFC 6455 4.2.1"}, Severity: Low,
		Why:    "a proxy and the server that read one request differently can be played off against each other (request smuggling)",
		Fix:    "refuse every handshake that RFC 6455 section 4.2.1 does not describe",
		Option: "the default",
	},
		Attack{
			ID: "upgrade-disguised", Title: "a foreign Origin in a handshake that is spelled unusually", Severity: Critical, Refs: []string{"ATTACKS W10", "CWE-1385"},
			Why: "a check that knows handshakes by one spelling passes the others on to a library that knows them all",
			Fix: "take for a handshake whatever has websocket in an Upgrade line, in any case and place", Option: "the default",
			Run: disguised,
		},
		Attack{
			ID: "upgrade-h2c", Title: "an upgrade to HTTP/2 in clear", Severity: High, Refs: []string{"ATTACKS W10", "CWE-444"},
			Why: "a proxy takes the 101 for a tunnel and looks at nothing that follows: requests reach the server past every rule of the proxy",
			Fix: "refuse Upgrade: h2c, and remove it at the proxy", Option: "the default",
			Run: func(ctx context.Context, t *Target) Verdict {
				h := t.Honest().Del("Sec-WebSocket-Key").Del("Sec-WebSocket-Version").Del("Sec-WebSocket-Protocol")
				h.Set("Connection", "Upgrade, HTTP2-Settings").Set("Upgrade", "h2c").Add("HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA")
				return t.mustRefuse(ctx, "Upgrade: h2c", h)
			},
		},
		spelled("version-spelled", "version 13 in other spellings, and drafts", "ATTACKS W15", "Sec-WebSocket-Version", "013", "+13", "13.0", "0x0d", "0", "7"),
		Attack{
			ID: "key-replay-spelled", Title: "a whole handshake again, its nonce in another spelling of base64", Refs: []string{"ATTACKS S6", "CWE-294"}, Needs: NeedSession,
			Why: "whoever has recorded a handshake, from a log or a proxy, opens a socket with it",
			Fix: "remember nonces by their bytes, or take the one canonical spelling alone", Option: "the default; LimitReplay",
			Run: replaySpelled,
		},
		Attack{
			ID: "header-split", Title: "encoded line ends in path and query, for a header of the answer", Severity: Medium, Refs: []string{"ATTACKS I2", "CWE-113"},
			Why: "an attacker writes headers of the answer: cookies, redirects, what a cache keeps",
			Fix: "copy nothing of the request into a header of the answer", Option: "the default",
			Run: splitHeader,
		},
	)
}

// disguised sends what a foreign page might, in spellings that browsers do not use; programs on the way do.
func disguised(ctx context.Context, t *Target) Verdict {
	foreign := func() *probe.Handshake { return t.Honest().Set("Origin", evilOrigin) }
	if t.ask(ctx, foreign()).admitted() {
		return left("a foreign Origin is admitted in any spelling, see origin-foreign")
	}
	return t.noneOf(ctx, []*probe.Handshake{
		foreign().Set("Upgrade", "WebSocket"),
		foreign().Set("Upgrade", "h2c, websocket"),
		foreign().Set("Upgrade", "websocket, h2c"),
		foreign().Set("Upgrade", "h2c").Add("Upgrade: websocket"),
		foreign().Set("Connection", "keep-alive, Upgrade"),
		foreign().Set("Connection", "upgrade"),
		foreign().Set("Connection", "keep-alive").Add("Connection: Upgrade"),
	})
}

// spelled is one line in spellings that are all wrong.
func spelled(id, title, ref, name string, values ...string) Attack {
	return Attack{ID: id, Title: title, Refs: []string{ref}, Run: func(ctx context.Context, t *Target) Verdict {
		var all []*probe.Handshake
		for _, v := range values {
			all = append(all, t.Honest().Set(name, v))
		}
		return t.noneOf(ctx, all)
	}}
}

// noneOf sends each. The first that is admitted decides, else the first of which nothing can be said.
func (t *Target) noneOf(ctx context.Context, all []*probe.Handshake) Verdict {
	var verdict Verdict
	honest := t.Honest()
	for i, h := range all {
		honest.Set("Sec-WebSocket-Key", h.Get("Sec-WebSocket-Key"))
		v := t.mustRefuse(ctx, difference(honest, h), h)
		if v.State == Broken {
			return v
		}
		if i == 0 || verdict.State == Held && v.State != Held {
			verdict = v
		}
	}
	return verdict
}

// replaySpelled changes the bits of the last letter that stand for nothing: 16 bytes leave four of them.
func replaySpelled(ctx context.Context, t *Target) Verdict {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	h := t.Honest()
	if a := t.askTwice(ctx, h); !a.admitted() {
		return unclear("an honest handshake", t.got(a), "it was not admitted the first time")
	}
	key := h.Get("Sec-WebSocket-Key")
	last := strings.IndexByte(alphabet, key[21])
	again := h.Clone().Set("Sec-WebSocket-Key", key[:21]+string(alphabet[last|5])+key[22:])
	return t.refusal("the same handshake, the key's last letter another one with the same meaning", t.ask(ctx, again))
}

func splitHeader(ctx context.Context, t *Target) Verdict {
	mark := canary()
	injected := "%0d%0aX-" + mark + ":%20yes%0d%0a%0d%0a"
	for _, change := range []func(h *probe.Handshake){
		func(h *probe.Handshake) { h.Target = withRaw(h.Target, "q="+injected) },
		func(h *probe.Handshake) {
			path, query, found := strings.Cut(h.Target, "?")
			h.Target = strings.TrimSuffix(path, "/") + "/" + injected
			if found {
				h.Target += "?" + query
			}
		},
	} {
		for _, honest := range []bool{true, false} {
			h := t.Honest()
			change(h)
			if !honest {
				h.Set("Sec-WebSocket-Version", "8")
			}
			a := t.askTwice(ctx, h)
			if a.response == nil {
				continue
			}
			for _, f := range a.response.Header {
				if strings.EqualFold(f.Name, "X-"+mark) {
					return broken("%0d%0aX-"+mark+": yes in path or query", f.Name+": "+fmt.Sprintf("%.40q", f.Value), "the answer has the header")
				}
			}
		}
	}
	return held("%0d%0aX-"+mark+": yes in path and query", "no answer has the header")
}

// withRaw adds to the query what is escaped already.
func withRaw(target, pair string) string {
	if strings.Contains(target, "?") {
		return target + "&" + pair
	}
	return target + "?" + pair
}
