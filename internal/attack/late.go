package attack

import (
	"context"
	"sync"
	"time"

	"github.com/wssecure/wssecure/internal/probe"
)

// This file is whether a token was really taken. Some servers answer 101 first and look at it then, or wait for one in the
// first message, as graphql-ws and Phoenix do; they end the session when none comes, or a bad one has come. What it may do
// until then cannot be seen from outside.

// lateness is what becomes of the sessions of nobody, looked at once for all attacks: each look may take Target.Patience.
type lateness struct {
	once   sync.Once
	end    ending        // of one that is refused behind its 101
	after  time.Duration // the longest that one of them had to wait for it; 0: none is refused then
	honest bool          // so is a good one that says nothing
}

// mustRefuseToken is mustRefuse for a handshake without a good token.
func (t *Target) mustRefuseToken(ctx context.Context, sent string, h *probe.Handshake) Verdict {
	return t.taken(ctx, t.mustRefuse(ctx, sent, h), h, 0)
}

// taken doubts a handshake that was admitted without a good token: only its session, left alone, shows whether it was. It
// is watched for longer than any of nobody was seen to last, and for least.
func (t *Target) taken(ctx context.Context, v Verdict, h *probe.Handshake, least time.Duration) Verdict {
	if v.State != Broken {
		return v
	}
	l := &t.lateness
	l.once.Do(func() { t.lookForLateness(ctx, l) })
	if l.honest {
		return unclear(v.Sent, t.got(answer{response: switching, after: l.end}), "it was admitted, and such a session is refused when it says nothing; so is an honest one: whether the token is looked at cannot be seen")
	}
	d := max(beyond(l.after), least)
	if d == 0 {
		return v
	}
	e, after := t.silence(ctx, h.Clone().Set("Sec-WebSocket-Key", newKey()), d)
	if e.refuses() {
		return unclear(v.Sent, t.got(answer{response: switching, after: e}), "it was admitted, and such a session is refused after %v when it says nothing: the token may come in the first message, or be looked at behind the 101; what it may do until then cannot be seen", after.Round(10*time.Millisecond))
	}
	return v
}

// lookForLateness opens sessions of nobody, and an honest one beside them that is left silent for longer: the server may
// refuse all who say nothing.
func (t *Target) lookForLateness(ctx context.Context, l *lateness) {
	d := t.lookingTime()
	nobodies := t.nobodies()
	watching, stop := context.WithCancel(ctx)
	defer stop()
	honest := make(chan ending, 1)
	began := time.Now()
	go func() {
		e, _ := t.silence(watching, t.somebody(watching), beyond(d))
		honest <- e
	}()
	var mu sync.Mutex
	var looking sync.WaitGroup
	for _, h := range nobodies {
		looking.Go(func() {
			e, after := t.silence(ctx, h, d)
			mu.Lock()
			defer mu.Unlock()
			if e.refuses() && after > l.after {
				l.end, l.after = e, after
			}
		})
	}
	looking.Wait()
	if l.after == 0 {
		return
	}
	select {
	case e := <-honest:
		l.honest = e.over()
	case <-time.After(time.Until(began.Add(beyond(l.after)))):
	}
}

// nobodies are handshakes of those whom no server knows: what is looked at early may depend on what is there.
func (t *Target) nobodies() []*probe.Handshake {
	all := []*probe.Handshake{t.anonymous()}
	if t.Token == nil {
		return all
	}
	all = append(all, t.with("garbage"))
	if j := t.jwt(); j.parts[2] != "" {
		forged := j.parts[0] + "." + j.parts[1] + "." + flipped(j.parts[2])
		t.hide(forged)
		all = append(all, t.with(forged))
	}
	return all
}

// somebody is an honest handshake: by ticket, where there is no token.
func (t *Target) somebody(ctx context.Context) *probe.Handshake {
	h := t.Honest()
	if t.Token != nil || t.Ticket == nil {
		return h
	}
	if ticket, err := t.Ticket(ctx, t.Origin); err == nil {
		t.hide(ticket)
		h.Target = withParameter(h.Target, ticketParameter, ticket)
	}
	return h
}

// lookingTime is how long a session of nobody is watched. Who has not said that it may take long, and sends no hostile
// frames either, wants an answer soon: graphql-ws waits three seconds for its token.
func (t *Target) lookingTime() time.Duration {
	d, given := t.patience()
	if !given && !t.Active {
		return 5 * time.Second
	}
	return d
}

// beyond is when a session has outlived one that lasted so long.
func beyond(d time.Duration) time.Duration {
	if d == 0 {
		return 0
	}
	return d + min(d, closing) + grace
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
