package attack

import (
	"context"
	"time"

	"github.com/wssecure/wssecure/internal/probe"
)

// This file is whether an end has anything to do with what was sent. Many servers give each user one session, or a few, and
// end or refuse what is too many: of attacks side by side each would then end the others, and all would seem to hold. And
// some sessions end whatever is sent.

// sideBySide is how many attacks are tried side by side.
const sideBySide = 8

// company is whether attacks may run side by side: looked for once, when the first one begins.
type company struct {
	turn   chan struct{} // holds one while one looks, or is alone
	looked bool
	bad    bool
}

// apart waits until nothing is tried that would get in the way, and returns what ends the wait of others.
func (t *Target) apart(ctx context.Context) (done func()) {
	c := t.company
	c.turn <- struct{}{}
	if !c.looked {
		c.looked, c.bad = true, t.crowded(ctx)
	}
	if !c.bad {
		<-c.turn
		return func() {}
	}
	return func() { <-c.turn }
}

// crowded reports whether sessions that are opened as attacks open them are refused, or end one another.
func (t *Target) crowded(ctx context.Context) bool {
	n := sideBySide
	if t.Pace.Conns > 0 {
		n = min(n, t.Pace.Conns)
	}
	if !t.honest.admitted() || !t.pace.allows(n, n) {
		return false
	}
	links, _ := t.hold(ctx, n, t.LocalAddr)
	ended := false
	for _, l := range links {
		ended = ended || l.watch(shortly, nil).over()
	}
	closeAll(links)
	if !ended {
		return len(links) < n
	}
	alone, _ := t.hold(ctx, 1, t.LocalAddr)
	defer closeAll(alone)
	return len(alone) == 1 && !alone[0].watch(sideBySide*shortly, nil).over() // else they end anyway
}

// shortly is how soon one session ends another.
const shortly = 50 * time.Millisecond

// answers keeps an end for the answer to what was sent only where its code says so, or an honest session lives for as long.
func (l *link) answers(ctx context.Context, t *Target, sent string, e ending, took time.Duration) Verdict {
	switch e.code {
	case 1002, 1003, 1007, 1009: // of protocol, type, text and size
		return held(sent, e.String())
	}
	l.Close() // it may be the one session of this user
	honest, v, ok := t.session(ctx)
	if !ok {
		return v
	}
	defer honest.Close()
	honest.SendFrame(probe.Message(probe.Ping, nil))
	if h := honest.watch(took+settling/5, nil); h.over() {
		return unclear(sent, e.String(), "so does an honest session: %s", h)
	}
	return held(sent, e.String())
}
