package attack

import (
	"context"
	"errors"
	"net"
	"time"
)

// This file is whether the target still serves honest clients, and which attack is to blame when it does not.

// recovery is how long a server may need until it serves honest clients again.
const recovery = 5 * time.Second

// settling is how long the places of sessions that have just been closed may need to come back.
const settling = time.Second

// A fall is the end of a server. What was under way then may have been the cause; what began later is not.
type fall struct {
	after string    // the attack that saw it first
	at    time.Time // when the first honest handshake was made that was not answered
}

func (f *fall) spares() Verdict {
	return unclear("", "", "the server no longer serves honest clients, since %s or what was tried beside it", f.after)
}

// survived makes honest handshakes until one ends as the first did.
func (t *Target) survived(ctx context.Context, of Attack, began time.Time, v Verdict) Verdict {
	asked := time.Now()
	var a answer
	for pause := time.Duration(0); time.Since(asked) < t.within(recovery); sleep(ctx, pause) {
		a = t.again(ctx)
		if a.like(t.honest) {
			t.doubt.Store(nil)
			return v
		}
		if a.putOff() && (a.response == nil || time.Since(asked) > settling) || ctx.Err() != nil {
			break
		}
		if pause = 250 * time.Millisecond; a.declined() {
			pause = time.Second // a ban may begin anew with each handshake
			continue
		}
		t.suspect(&fall{of.ID, asked})
	}
	switch {
	case of.Spends && v.State == Held && (a.putOff() || a.busy() || a.declined()):
		t.doubt.Store(nil)
		return v
	case a.putOff():
		// It has had enough of this address: that is a defence, and the end of what can be seen from here.
		t.doubt.Store(nil)
		return unclear(v.Sent, v.Got, "afterwards an honest handshake is put off: %s", t.got(a))
	case a.declined():
		// So does a server that bans or counts: it is up, and says no. One in ruins answers 5xx or nothing.
		t.doubt.Store(nil)
		return unclear(v.Sent, v.Got, "afterwards an honest handshake is refused: this address may be banned, or have used up what it may: %s", t.got(a))
	case ctx.Err() != nil:
		return unclear(v.Sent, v.Got, "there was no time left for an honest handshake")
	case t.shutsOut(ctx, a):
		t.doubt.Store(nil)
		s := &fall{of.ID, asked}
		t.shut.CompareAndSwap(nil, s)
		return unclear(v.Sent, v.Got, "afterwards %s: %s", t.shutting(), t.got(a))
	}
	t.fallen.CompareAndSwap(nil, t.doubt.Load())
	if f := t.fallen.Load(); f != nil && began.After(f.at) {
		return f.spares()
	}
	return broken(v.Sent, t.got(a), "the server did not survive this, or what was tried beside it: honest handshakes are no longer answered as before")
}

// shutsOut reports whether the target only refuses this address, below HTTP: a listener that bans, or a firewall. Where
// every other loopback address is a client of its own, one of them says so. From one address alone a server that ends
// each connection cannot be told from one that ended with the attack; one that refuses connections, or is silent on
// them, has fallen.
func (t *Target) shutsOut(ctx context.Context, a answer) bool {
	if a.response != nil {
		return false
	}
	if t.loopback() {
		l, other := t.openFrom(ctx, elsewhere, t.Honest())
		if l != nil {
			defer l.Close()
		}
		return other.like(t.honest)
	}
	var op *net.OpError
	unreached := errors.As(a.err, &op) && op.Op == "dial" && op.Timeout()
	return a.closed() || unreached
}

// elsewhere is a loopback address that nothing else comes from.
const elsewhere = "127.0.78.1"

func (t *Target) shutting() string {
	if t.loopback() {
		return "this address alone gets no answer: it is banned"
	}
	return "this address gets no answer: it may be banned, or the server may have ended; look from another one"
}

// isShut looks, where an attack has been shut out, whether the next one is too.
func (t *Target) isShut(ctx context.Context) (Verdict, bool) {
	s := t.shut.Load()
	if s == nil {
		return Verdict{}, false
	}
	if a := t.again(ctx); !a.like(t.honest) {
		return unclear("", "", "since %s or what was tried beside it %s: %s", s.after, t.shutting(), t.got(a)), true
	}
	t.shut.CompareAndSwap(s, nil)
	return Verdict{}, false
}

// suspect keeps the earliest doubt: who asked first may be the last to be told.
func (t *Target) suspect(f *fall) {
	for {
		d := t.doubt.Load()
		if d != nil && !f.at.Before(d.at) || t.doubt.CompareAndSwap(d, f) {
			return
		}
	}
}
