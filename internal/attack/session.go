package attack

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/wssecure/wssecure/internal/probe"
	"github.com/wssecure/wssecure/internal/quote"
)

// session opens one; when it does not, the verdict says why.
func (t *Target) session(ctx context.Context) (*link, Verdict, bool) {
	return t.sessionOf(ctx, t.Honest())
}

func (t *Target) sessionOf(ctx context.Context, h *probe.Handshake) (*link, Verdict, bool) {
	l, a := t.open(ctx, h)
	if a.busy() && a.retryAfter() <= 2*time.Second {
		if l != nil {
			l.Close()
		}
		sleep(ctx, a.retryAfter())
		l, a = t.open(ctx, h.Clone().Set("Sec-WebSocket-Key", newKey()))
	}
	if a.status() == 101 {
		return l, Verdict{}, true
	}
	if l != nil {
		l.Close()
	}
	return nil, unclear("an honest handshake", t.got(a), "no session could be opened"), false
}

// An ending is what became of a session.
type ending struct {
	code   int // of the server's close frame; 0 when there was none
	reason string
	cut    bool // the connection ended
	alive  bool // it answered our ping
	huge   bool // it sent a frame too large to be read
}

func (e ending) over() bool { return e.code != 0 || e.cut }

func (e ending) String() string {
	switch {
	case e.code != 0:
		return fmt.Sprintf("closed with %d %s", e.code, quote.Quoted(e.reason, 140))
	case e.cut:
		return "the connection was cut"
	case e.huge:
		return "a frame of more than 16 MiB"
	case e.alive:
		return "the session is open and answers pings"
	}
	return "the session is open"
}

// plain is String for a text that is quoted as a whole.
func (e ending) plain() string {
	if e.code != 0 {
		return fmt.Sprintf("closed with %d %s", e.code, e.reason)
	}
	return e.String()
}

// watch reads until the session ends, a pong with that payload comes, or the time is over.
func (l *link) watch(d time.Duration, pong []byte) ending {
	end := time.Now().Add(d)
	for {
		f, err := l.SkimFrame(end)
		switch {
		case err == nil:
		case (answer{err: err}).timedOut():
			return ending{}
		case f.Length != nil && *f.Length > 16<<20:
			return ending{huge: true}
		default:
			return ending{cut: true}
		}
		switch {
		case f.Opcode == probe.Close:
			return closedWith(f.Payload)
		case f.Opcode == probe.Pong && pong != nil && bytes.Equal(f.Payload, pong):
			return ending{alive: true}
		}
	}
}

// worked is how soon a server without a bound has worked off a flood, on a machine with nothing else to do, and any has
// judged a frame.
const worked = 5 * time.Second

// pour sends b and a ping behind it while it reads for d what comes back: the server may end the session, and stop reading,
// before all is sent.
func (l *link) pour(b []byte, d time.Duration) ending {
	payload := []byte(canary())
	go l.Send(append(b[:len(b):len(b)], probe.AppendFrame(nil, probe.Message(probe.Ping, payload))...))
	return l.watch(d, payload)
}

func sessionAttacks() []Attack {
	return each(Attack{Group: "session", Severity: Medium, Active: true},
		Attack{
			ID: "close-stall", Title: "a close frame, and then silence", Refs: []string{"ATTACKS D10", "RFC 6455 7.1.1"}, Needs: NeedSession,
			Why: "each such peer keeps a connection, its buffers and its place for ever",
			Fix: "close the connection some seconds after the close frame, whatever the peer does", Option: "the default",
			Run: func(ctx context.Context, t *Target) Verdict {
				l, v, ok := t.session(ctx)
				if !ok {
					return v
				}
				defer l.Close()
				const sent = "a close frame; the connection is left open"
				l.Send(probe.CloseFrame(1000, ""))
				if l.AwaitEOF(t.within(closing)) != nil {
					return broken(sent, "the connection is open", "after %v it was not closed", t.within(closing))
				}
				return held(sent, "the connection was closed")
			},
		},
		Attack{
			ID: "close-endless", Title: "a close frame, and then messages without end", Refs: []string{"ATTACKS D10", "RFC 6455 5.5.1"}, Needs: NeedSession,
			Why: "a session that has been ended goes on",
			Fix: "discard what comes after a close frame, and close the connection", Option: "the default",
			Run: closeEndless,
		},
		Attack{
			ID: "slow-header", Title: "a handshake of which a byte comes now and then", Refs: []string{"ATTACKS D1", "CWE-400"}, Severity: High,
			Why: "a few thousand such connections, from one machine, and nobody else gets in",
			Fix: "set ReadHeaderTimeout", Option: "Harden",
			Run: slowHeader,
		},
		Attack{
			ID: "slow-message", Title: "a message of which a byte comes now and then", Refs: []string{"ATTACKS D4", "CWE-400"}, Needs: NeedSession,
			Why: "each such peer keeps a buffer of the size that it has declared",
			Fix: "bound the time for one message, not only for one read", Option: "the default; Limits.MessageTime",
			Run: slowMessage,
		},
		Attack{
			ID: "silent-peer", Title: "a session whose peer is gone: nothing comes, no pong either", Refs: []string{"ATTACKS D9", "RFC 6455 5.5.2"}, Needs: NeedSession,
			Why: "peers whose network is gone stay for ever, with their buffers and places, and messages are sent to nobody",
			Fix: "send pings, and end the session when no answer comes", Option: "the default; SetPing, Limits.Pong",
			Run: silentPeer,
		},
		slowReaderAttack(),
		Attack{
			ID: "token-outlived", Title: "a socket that stays open when its token has expired", Refs: []string{"ATTACKS S9", "CWE-613", "ASVS 7.4.1"}, Severity: High, Needs: NeedSession | NeedJWT | NeedSign,
			Why: "a user who was locked out stays in as long as the socket lives",
			Fix: "end the session when its token does", Option: "the default",
			Run: outlived,
		},
		Attack{
			ID: "revoke-session", Title: "a socket that stays open when its token was revoked", Refs: []string{"ATTACKS S9", "CWE-613"}, Severity: High, Needs: NeedSession | NeedToken | NeedRevoke,
			Why: "whoever was logged out, or has stolen the token, stays in as long as the socket lives",
			Fix: "keep a list of open sessions by token, and end them", Option: "Guard.Revoke",
			Run: revokeSession,
		},
		Attack{
			ID: "revoke-handshake", Title: "a new socket with a revoked token", Refs: []string{"ATTACKS S8", "CWE-613"}, Severity: High, Needs: NeedSession | NeedToken | NeedRevoke,
			Why: "the token works until it expires",
			Fix: "ask for revocations at each handshake", Option: "Guard.Revoke",
			Run: func(ctx context.Context, t *Target) Verdict {
				token := t.token()
				if err := t.Revoke(ctx, token); err != nil {
					return unclear("", "", "Revoke: %s", quote.Cut(t.redact(err.Error()), longestGot))
				}
				// A server may hear of it behind its 101; a session has as long to end when it is open already.
				h := t.with(token)
				return t.taken(ctx, t.mustRefuse(ctx, "a token that was revoked", h), h, atOnce)
			},
		},
		Attack{
			ID: "revoke-twin", Title: "a revoked token with its other valid signature", Refs: []string{"ATTACKS J11", "CWE-613"}, Severity: High, Needs: NeedSession | NeedJWT | NeedRevoke,
			Why: "each ECDSA signature has a twin that anybody can compute: the same token in another text, which no list of revoked texts knows",
			Fix: "revoke by issuer and jti, or by subject, never by the token's text", Option: "Guard.Revoke",
			Run: revokeTwin,
		},
		Attack{
			ID: "revoke-race", Title: "handshakes while their token is revoked", Refs: []string{"ATTACKS S8", "CWE-367"}, Severity: High, Needs: NeedSession | NeedToken | NeedRevoke,
			Why: "a socket that slips in between check and registration outlives the revocation",
			Fix: "register the session first, ask for revocations again, then admit it", Option: "the default",
			Run: revokeRace,
		},
	)
}

// closing is what a server may take to end a connection after a close frame.
const closing = 6 * time.Second

func closeEndless(ctx context.Context, t *Target) Verdict {
	l, v, ok := t.session(ctx)
	if !ok {
		return v
	}
	defer l.Close()
	const sent = "a close frame, then a message every 50 ms"
	l.Send(probe.CloseFrame(1000, ""))
	ended := make(chan error, 1)
	go func() { ended <- l.AwaitEOF(t.within(closing)) }()
	for {
		select {
		case err := <-ended:
			if err != nil {
				return broken(sent, "the connection is open", "after %v it was not closed", t.within(closing))
			}
			return held(sent, "the connection was closed")
		case <-time.After(50 * time.Millisecond):
			l.SendFrame(probe.Message(probe.Text, []byte("more"))) // an error shows as the end
		}
	}
}

func silentPeer(ctx context.Context, t *Target) Verdict {
	d, given := t.patience()
	if !given {
		return left("pings come seldom: --patience, or Patience, says after what time the server should miss a peer")
	}
	l, v, ok := t.session(ctx)
	if !ok {
		return v
	}
	defer l.Close()
	const sent = "nothing, and no pong"
	e := l.watch(d, nil)
	if !e.over() {
		return broken(sent, e.String(), "after %v it was not closed", d)
	}
	return held(sent, e.String())
}

// patience is how long a server may wait for a stalled peer, and whether the caller has said so.
func (t *Target) patience() (time.Duration, bool) {
	if t.Patience > 0 {
		return t.Patience, true
	}
	return 12 * time.Second, false
}

// drip sends b a byte at a time until the connection ends or the time is over; the rest of b repeats.
func (l *link) drip(ctx context.Context, b []byte, d time.Duration) (ended bool) {
	over := make(chan error, 1)
	go func() { over <- l.AwaitEOF(d) }()
	for i := 0; ; i++ {
		select {
		case err := <-over:
			return err == nil
		case <-ctx.Done():
			return false
		case <-time.After(max(d/40, 20*time.Millisecond)):
			l.Send(b[i%len(b) : i%len(b)+1])
		}
	}
}

func slowHeader(ctx context.Context, t *Target) Verdict {
	d, _ := t.patience()
	l, err := t.dial(ctx)
	if err != nil {
		return unclear("", t.got(answer{err: err}), "no connection")
	}
	defer l.Close()
	sent := "the beginning of a handshake, then a byte every now and then"
	l.Send([]byte("GET " + t.endpoint.target + " HTTP/1.1\r\nHost: " + t.endpoint.host + "\r\nX-Slow: "))
	if !l.drip(ctx, []byte("a"), d) {
		return broken(sent, "the connection is open", "after %v it was not closed", d)
	}
	return held(sent, "the connection was closed")
}

func slowMessage(ctx context.Context, t *Target) Verdict {
	d, given := t.patience()
	if !given {
		return left("a good message may take long: --patience, or Patience, says what the server allows")
	}
	l, v, ok := t.session(ctx)
	if !ok {
		return v
	}
	defer l.Close()
	sent := "the header of a message of 1,000 bytes, then a byte every now and then"
	length := uint64(1000)
	l.SendFrame(probe.Frame{FIN: true, Opcode: probe.Text, Masked: true, Length: &length})
	if !l.drip(ctx, []byte("a"), d) {
		return broken(sent, "the connection is open", "after %v it was not closed", d)
	}
	return held(sent, "the connection was closed")
}
