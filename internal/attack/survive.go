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
	at    time.Time // when an honest handshake was not answered for the first time
}

func (f *fall) spares() Verdict {
	return unclear("", "", "the server no longer serves honest clients, since %s or what was tried beside it", f.after)
}

// survived makes honest handshakes until one ends as the first did.
func (t *Target) survived(ctx context.Context, id string, began time.Time, v Verdict) Verdict {
	asked := time.Now()
	var a answer
	for ; time.Since(asked) < recovery; sleep(ctx, 250*time.Millisecond) {
		a = t.again(ctx)
		if a.like(t.honest) {
			return v
		}
		if a.putOff() && (a.response == nil || time.Since(asked) > settling) || ctx.Err() != nil {
			break
		}
	}
	switch {
	case a.putOff():
		// It has had enough of this address: that is a defence, and the end of what can be seen from here.
		return unclear(v.Sent, v.Got, "afterwards an honest handshake is put off: %s", t.got(a))
	case ctx.Err() != nil:
		return unclear(v.Sent, v.Got, "there was no time left for an honest handshake")
	}
	if !t.fallen.CompareAndSwap(nil, &fall{id, asked}) {
		if f := t.fallen.Load(); began.After(f.at) {
			return f.spares()
		}
	}
	return broken(v.Sent, t.got(a), "the server did not survive this, or what was tried beside it: honest handshakes are no longer answered as before")
}
