package attack

import (
	"context"
	"time"

	"github.com/wssecure/wssecure/internal/probe"
)

// This file is servers that ask for the token in the first message, as graphql-ws and Phoenix do. They admit a handshake
// without one, and end the session when none comes in time. What it may do until then cannot be seen from outside.

// expectsToken looks whether a handshake that was admitted without a good token only has some time to bring one: its session
// is refused while it says nothing. An honest one is left silent behind it, for longer, as the server may do so to all; one
// connection at a time, or attacks would wait for each other's.
func (t *Target) expectsToken(ctx context.Context, sent string, h *probe.Handshake) (Verdict, bool) {
	d, _ := t.patience()
	e, after := t.silence(ctx, h, d)
	if !e.refuses() {
		return Verdict{}, false
	}
	honest, _ := t.silence(ctx, t.Honest(), after+min(after, closing)+grace)
	detail := "it was admitted, and refused when it said nothing: the token may come in the first message; what such a session may do until then cannot be seen"
	if honest.over() {
		detail = "it was admitted, and refused when it said nothing; so is an honest one: whether the token is looked at cannot be seen"
	}
	return unclear(sent, t.got(answer{response: switching, after: e}), "%s", detail), true
}

// switching stands for the 101 of a session that was watched.
var switching = &probe.Response{Status: 101, StatusLine: "HTTP/1.1 101 Switching Protocols"}

// silence opens a session, says nothing, and returns how it ends, and after what time.
func (t *Target) silence(ctx context.Context, h *probe.Handshake, d time.Duration) (ending, time.Duration) {
	l, a := t.open(ctx, h.Clone().Set("Sec-WebSocket-Key", newKey()))
	if l == nil {
		return ending{}, 0
	}
	defer l.Close()
	if a.status() != 101 {
		return ending{}, 0
	}
	began := time.Now()
	return l.watch(d, nil), time.Since(began)
}
