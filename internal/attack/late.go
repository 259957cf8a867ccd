package attack

import (
	"context"
	"sync"
	"time"

	"github.com/wssecure/wssecure/internal/probe"
)

// This file is servers that ask for the token in the first message, as graphql-ws and Phoenix do. They admit a handshake
// without one, and end the session when none comes in time. What it may do until then cannot be seen from outside.

// lateness is what a server does with a session that has shown no token, looked at once for all attacks: each look may take
// Target.Patience.
type lateness struct {
	once   sync.Once
	end    ending
	detail string // empty: such a session may stay
}

// expectsToken looks whether a handshake that was admitted without a good token only has some time to bring one.
func (t *Target) expectsToken(ctx context.Context, sent string) (Verdict, bool) {
	l := &t.lateness
	l.once.Do(func() { l.end, l.detail = t.leaveSilent(ctx) })
	if l.detail == "" {
		return Verdict{}, false
	}
	return unclear(sent, t.got(answer{response: switching, after: l.end}), "%s", l.detail), true
}

// leaveSilent looks whether a session without a token is refused while it says nothing. An honest one is left silent behind
// it, for longer, as the server may do so to all; one connection at a time, or attacks would wait for each other's.
func (t *Target) leaveSilent(ctx context.Context) (ending, string) {
	d, _ := t.patience()
	e, after := t.silence(ctx, t.anonymous(), d)
	if !e.refuses() {
		return e, ""
	}
	honest, _ := t.silence(ctx, t.Honest(), after+min(after, closing)+grace)
	if honest.over() {
		return e, "it was admitted, and such a session is refused when it says nothing; so is an honest one: whether the token is looked at cannot be seen"
	}
	return e, "it was admitted, and such a session is refused when it says nothing: the token may come in the first message; what it may do until then cannot be seen"
}

// switching stands for the 101 of a session that was watched.
var switching = &probe.Response{Status: 101, StatusLine: "HTTP/1.1 101 Switching Protocols"}

// silence opens a session, says nothing, and returns how it ends, and after what time.
func (t *Target) silence(ctx context.Context, h *probe.Handshake, d time.Duration) (ending, time.Duration) {
	l, a := t.open(ctx, h)
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
