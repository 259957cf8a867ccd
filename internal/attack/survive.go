package attack

import (
	"context"
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
func (t *Target) survived(ctx context.Context, id string, began time.Time, v Verdict) Verdict {
	asked := time.Now()
	var a answer
	for pause := time.Duration(0); time.Since(asked) < recovery; sleep(ctx, pause) {
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
		t.suspect(&fall{id, asked})
	}
	switch {
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
	}
	t.fallen.CompareAndSwap(nil, t.doubt.Load())
	if f := t.fallen.Load(); f != nil && began.After(f.at) {
		return f.spares()
	}
	return broken(v.Sent, t.got(a), "the server did not survive this, or what was tried beside it: honest handshakes are no longer answered as before")
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
