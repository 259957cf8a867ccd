package attack

import (
	"encoding/binary"
	"time"

	"github.com/wssecure/wssecure/internal/probe"
)

// This file is refusals behind a 101. A browser shows its page nothing of an HTTP refusal, so some servers complete the
// handshake and close at once, with a code that says why: nobody was admitted.

// farewell looks whether the first thing after a 101 is its end.
func (l *link) farewell(a answer) answer {
	if a.status() != 101 {
		return a
	}
	// It comes with the 101 or right behind it, as late as the network is slow.
	soon := min(max(2*a.took, 100*time.Millisecond), time.Second)
	f, err := l.SkimFrame(time.Now().Add(soon))
	switch {
	case err == nil && f.Opcode == probe.Close:
		a.after = closedWith(f.Payload)
	case err != nil && !(answer{err: err}).timedOut():
		a.after = ending{cut: f.Length == nil}
	}
	return a
}

// TakenBack says how a 101 that came so fast was followed by a refusal; nothing where it was not.
func TakenBack(c *probe.Conn, took time.Duration) string {
	a := (&link{Conn: c}).farewell(answer{response: switching, took: took})
	if !a.after.refuses() {
		return ""
	}
	return a.after.String()
}

// closedWith is the ending by a close frame.
func closedWith(payload []byte) ending {
	if len(payload) < 2 {
		return ending{code: 1005}
	}
	return ending{code: int(binary.BigEndian.Uint16(payload)), reason: string(payload[2:])}
}

// refuses tells a close code that says no from those of a session that was: it had nothing to say, failed, or did not like
// what it read.
func (e ending) refuses() bool { return e.code == 1008 || e.code == 1013 || e.code >= 3000 }

// admitted reports a 101 that is meant.
func (a answer) admitted() bool { return a.status() == 101 && !a.after.refuses() }

// like reports whether a client is served as another one was.
func (a answer) like(other answer) bool {
	return a.status() == other.status() && a.admitted() == other.admitted()
}
