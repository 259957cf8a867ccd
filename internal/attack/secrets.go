package attack

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/wssecure/wssecure/internal/probe"
	"github.com/wssecure/wssecure/internal/quote"
)

// This file looks for what was sent in places where it must not appear again: in answers, and in the server's log.

func secretAttacks() []Attack {
	return each(Attack{
		Group: "secrets", Refs: []string{"ATTACKS I7"}, Severity: Medium,
		Why: "what an attacker wrote comes back in the name of the server: as a page, or to whoever shares its cache",
		Fix: "answer with fixed texts, and quote nothing of the request", Option: "the default",
	},
		Attack{
			ID: "token-echo", Title: "a token among the offered subprotocols", Severity: High, Refs: []string{"ATTACKS S5", "CWE-532"}, Needs: NeedToken,
			Why: "the token comes back in the answer, where proxies and browsers' tools write it down",
			Fix: "answer with the marker beside the token, never with the token", Option: "FromSubprotocol",
			Run: tokenEcho,
		},
		reflected("reflected-origin", "a foreign Origin", func(h *probe.Handshake, canary string) { h.Set("Origin", "https://"+canary+".evil.example") }),
		reflected("reflected-version", "an unknown version", func(h *probe.Handshake, canary string) { h.Set("Sec-WebSocket-Version", canary) }),
		reflected("reflected-upgrade", "an unknown protocol to upgrade to", func(h *probe.Handshake, canary string) { h.Set("Upgrade", "websocket-"+canary) }),
		reflected("reflected-query", "a query", func(h *probe.Handshake, canary string) {
			h.Target = withParameter(h.Target, "q", canary)
			h.Set("Sec-WebSocket-Version", "8")
		}),
		reflected("reflected-token", "a token", func(h *probe.Handshake, canary string) {
			h.Set("Authorization", "Bearer "+canary).Set("Sec-WebSocket-Version", "8")
		}),
		Attack{
			ID: "log-secrets", Title: "tokens, cookies and tickets in the log", Severity: High, Refs: []string{"CWE-532", "ASVS 16.2.5"}, Needs: NeedLog,
			Why: "whoever reads the log, or a copy of it, has the sessions in it",
			Fix: "log which part of the request held a credential, never the credential", Option: "the default",
			Run: logSecrets,
		},
		Attack{
			ID: "log-injection", Title: "line ends, escape sequences and writing directions in what is logged", Refs: []string{"CWE-117", "ATTACKS I1"}, Needs: NeedLog,
			Why: "an attacker writes lines of the log, and drives the terminal of whoever reads it",
			Fix: "escape everything that a peer sent, and cut it", Option: "the default",
			Run: logInjection,
		},
		Attack{
			ID: "log-close-reason", Title: "line ends and escape sequences in the reason of a close frame", Refs: []string{"CWE-117", "ATTACKS I1"}, Needs: NeedLog | NeedSession, Active: true,
			Why: "an attacker writes lines of the log, and drives the terminal of whoever reads it",
			Fix: "escape the close reason of a peer before it is logged", Option: "the default",
			Run: logCloseReason,
		},
	)
}

func canary() string { return "canary" + strings.ToLower(rand.Text()[:12]) }

// reflected is a value that must not be in the refusal.
func reflected(id, what string, change func(h *probe.Handshake, canary string)) Attack {
	return Attack{ID: id, Title: what + " that comes back in the refusal", Refs: []string{"CWE-79", "CWE-209"}, Run: func(ctx context.Context, t *Target) Verdict {
		mark := canary()
		h := t.Honest()
		change(h, mark)
		a := t.askTwice(ctx, h)
		sent := what + " with the word " + mark
		switch {
		case a.response == nil && a.closed():
			return held(sent, t.got(a))
		case a.response == nil || a.status() == 101 || a.busy():
			return unclear(sent, t.got(a), "there was no refusal to look at")
		}
		if where := find(a.response, mark); where != "" {
			return broken(sent, quote.Cut(t.redact(where), longestGot), "it came back")
		}
		return held(sent, t.got(a))
	}}
}

// find is where in an answer a text stands.
func find(r *probe.Response, text string) string {
	text = strings.ToLower(text)
	for _, f := range r.Header {
		if strings.Contains(strings.ToLower(f.Name+f.Value), text) {
			return f.Name + ": " + f.Value
		}
	}
	if strings.Contains(strings.ToLower(string(r.Body)), text) {
		return string(r.Body)
	}
	return ""
}

func tokenEcho(ctx context.Context, t *Target) Verdict {
	for _, version := range []string{"13", "8"} {
		token := t.token()
		h := t.anonymous().Set("Sec-WebSocket-Version", version)
		p := Place{Kind: InSubprotocol}
		if t.Place.Kind == InSubprotocol {
			p = t.Place
		}
		t.put(h, p, token)
		a := t.askTwice(ctx, h)
		if a.response == nil {
			continue
		}
		if find(a.response, token) != "" {
			return broken("the good token among the subprotocols, version "+version, t.got(a), "the token came back")
		}
	}
	return held("the good token among the subprotocols", "it did not come back")
}

// logged waits until what was sent has had the time to be logged, and returns the log.
func (t *Target) logged(ctx context.Context) string {
	sleep(ctx, 300*time.Millisecond)
	return t.Log()
}

func logSecrets(ctx context.Context, t *Target) Verdict {
	marks := map[string]string{}
	mark := func(where string) string {
		marks[where] = canary()
		return marks[where]
	}
	jwt := func(where string) string { return "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhIn0." + mark(where) }
	for _, change := range []func(h *probe.Handshake){
		func(h *probe.Handshake) { h.Set("Authorization", "Bearer "+jwt("Authorization")) },
		func(h *probe.Handshake) { h.Set("Authorization", "Basic "+mark("Authorization: Basic")) },
		func(h *probe.Handshake) { h.Add("Cookie: __Host-sid=" + mark("the cookie __Host-sid")) },
		func(h *probe.Handshake) { h.Set("Sec-WebSocket-Protocol", "bearer, "+jwt("a subprotocol")) },
		func(h *probe.Handshake) { h.Target = withParameter(h.Target, "ticket", mark("the parameter ticket")) },
		func(h *probe.Handshake) {
			h.Target = withParameter(h.Target, "access_token", mark("the parameter access_token"))
		},
		func(h *probe.Handshake) { t.put(h, t.Place, jwt("the token's place")) },
	} {
		h := t.anonymous()
		change(h)
		t.ask(ctx, h)
	}
	var good string
	if t.Token != nil {
		good = t.token()
		t.ask(ctx, t.with(good))
	}
	log := t.logged(ctx)
	for where, m := range marks {
		if strings.Contains(log, m) {
			return broken("a canary in "+where, "the log contains it", "credentials in that place are logged")
		}
	}
	if good != "" && strings.Contains(log, good) {
		return broken("an honest handshake", "the log contains its token", "credentials are logged")
	}
	return held("canaries in Authorization, Cookie, subprotocols and query", "the log contains none of them")
}

// hostile is text that must never reach a log as it is.
func hostile(mark string) string {
	return "x\r\nlevel=INFO msg=" + mark + "\x1b[2J\u202e\u2028" + mark
}

func logInjection(ctx context.Context, t *Target) Verdict {
	mark := canary()
	raw := "x\u202e\u2028\u009b" + mark
	for _, change := range []func(h *probe.Handshake){
		func(h *probe.Handshake) { h.Set("User-Agent", raw) },
		func(h *probe.Handshake) { h.Set("Origin", "https://"+raw) },
		func(h *probe.Handshake) { h.Set("Sec-WebSocket-Version", raw) },
		func(h *probe.Handshake) { h.Set("Authorization", "Bearer "+raw) },
		func(h *probe.Handshake) { h.Target = withParameter(h.Target, "q", hostile(mark)) },
		func(h *probe.Handshake) {
			path, query, _ := strings.Cut(h.Target, "?")
			h.Target = strings.TrimSuffix(path, "/") + "/" + url.PathEscape(hostile(mark)) + "?" + query
			h.Set("Origin", evilOrigin)
		},
	} {
		h := t.Honest()
		change(h)
		t.ask(ctx, h)
	}
	return t.cleanLog(ctx, "line ends, ESC, U+202E and U+2028 in path, query, Origin, User-Agent, version and token", mark)
}

func logCloseReason(ctx context.Context, t *Target) Verdict {
	mark := canary()
	l, v, ok := t.session(ctx)
	if !ok {
		return v
	}
	defer l.Close()
	l.Send(probe.CloseFrame(1000, hostile(mark)))
	l.AwaitEOF(3 * time.Second)
	return t.cleanLog(ctx, "a close frame whose reason has line ends, ESC and U+202E", mark)
}

// cleanLog wants no line of the log that holds the mark to hold anything else of hostile, raw.
func (t *Target) cleanLog(ctx context.Context, sent, mark string) Verdict {
	log := t.logged(ctx)
	for _, l := range strings.Split(log, "\n") {
		if !strings.Contains(l, mark) {
			continue
		}
		if strings.HasPrefix(l, "level=INFO msg="+mark) || strings.ContainsAny(l, "\r\x1b\u202e\u2028\u009b") {
			return broken(sent, fmt.Sprintf("the log has the line %s", quote.Quoted(l, longestGot)), "it was logged as it came")
		}
	}
	return held(sent, "the log has none of it raw")
}
