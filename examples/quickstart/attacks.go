package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/wssecure/wssecure"
)

// attackAddr is where the attacks come from: an address of this machine that is not the visitor's, so that a ban does not
// hit her.
const attackAddr = "127.0.0.66"

var attackNetwork = netip.PrefixFrom(netip.MustParseAddr(attackAddr), 32)

// attack is one button of the page: who does it, what stops it, and the bytes.
type attack struct {
	ID, Title string
	Story     string // what an attacker hopes for
	Option    string // what stopped it
	steps     func(ctx context.Context, x *exchange) error
}

var attacks = []attack{{
	ID: "foreign-origin", Title: "Foreign origin",
	Story:  "A page on another site dials your server from the visitor’s own browser. Even a valid token does not help it.",
	Option: "AllowOrigins",
	steps: func(ctx context.Context, x *exchange) error {
		h := x.handshake().with("Origin", "https://evil.example")
		return x.try(ctx, h, "A browser always sends the Origin of the page, and no script can change it.")
	},
}, {
	ID: "no-token", Title: "No token",
	Story:  "Right origin, no credential: somebody with a terminal tries the door.",
	Option: "RequireToken",
	steps: func(ctx context.Context, x *exchange) error {
		h := x.handshake().without("Authorization")
		return x.try(ctx, h, "The challenge names the scheme and nothing else.")
	},
}, {
	ID: "expired-token", Title: "Expired token",
	Story:  "A token from an old log file, correctly signed, an hour too late.",
	Option: "RequireToken",
	steps: func(ctx context.Context, x *exchange) error {
		h := x.handshake().with("Authorization", "Bearer "+x.issuer.token("mallory", scopeEvents, -time.Hour))
		return x.try(ctx, h, "To the peer every bad token looks the same; the event says that this one had expired.")
	},
}, {
	ID: "wrong-version", Title: "Wrong version",
	Story:  "A client of a 2010 draft, or a scanner that looks for servers which accept anything.",
	Option: "always on: the handshake’s shape (RFC 6455, 4.2.1)",
	steps: func(ctx context.Context, x *exchange) error {
		h := x.handshake().with("Sec-WebSocket-Version", "8")
		return x.try(ctx, h, "The answer names the version to use, as the standard asks.")
	},
}, {
	ID: "replayed-key", Title: "Replayed key",
	Story:  "Somebody recorded an admitted handshake and plays the same bytes again.",
	Option: "LimitReplay, on by default: 5 minutes",
	steps: func(ctx context.Context, x *exchange) error {
		h := x.handshake()
		first, err := x.open(ctx, h, "The original handshake:")
		if err != nil || first == nil {
			return err
		}
		defer first.Close()
		return x.try(ctx, h, "The same bytes again, on a new connection: this nonce has been used with this credential.")
	},
}, {
	ID: "oversize-message", Title: "Oversize message",
	Story:  "A frame header that announces one gibibyte, in the hope that somebody allocates it.",
	Option: "LimitSession(Limits{MessageSize: 4096})",
	steps: func(ctx context.Context, x *exchange) error {
		return x.tryFrames(ctx, hugeHeader(), "81 ff 00 00 00 00 40 00 00 00 …  text frame, declares 1,073,741,824 bytes\n(not one byte of them follows)",
			"Judged by the declared length: nothing was awaited, nothing was allocated.")
	},
}, {
	ID: "bad-utf8", Title: "Bad UTF-8",
	Story:  "An overlong slash (c0 af), which has opened doors in parsers that decode twice.",
	Option: "always on: text is UTF-8 (RFC 6455, 8.1)",
	steps: func(ctx context.Context, x *exchange) error {
		return x.tryFrames(ctx, textFrame([]byte("\xc0\xaf")), "81 82 …  text frame of 2 bytes: c0 af",
			"Nothing was delivered to the chat.")
	},
}, {
	ID: "message-flood", Title: "Message flood",
	Story:  "Two hundred messages in one packet.",
	Option: "LimitSession(Limits{Messages: 5 a second, burst 10, CloseOnRate})",
	steps: func(ctx context.Context, x *exchange) error {
		var flood []byte
		for n := range 200 {
			flood = append(flood, textFrame(encode(saying{Text: fmt.Sprintf("Buy now! (%d)", n+1)}))...)
		}
		return x.tryFrames(ctx, flood, "81 …  text frame {\"text\":\"Buy now! (1)\"}\n81 …  text frame {\"text\":\"Buy now! (2)\"}\n… 200 in all, in one write",
			"What fitted the burst reached the chat. Without CloseOnRate the guard would have read the rest more slowly instead.")
	},
}, {
	ID: "forged-ban", Title: "Forged tokens, until banned",
	Story:  "Guessing: token after token under the right key id, signed with the wrong key.",
	Option: "LimitFailures(ByIP(), PerMinute(20), time.Minute)",
	steps:  forgeUntilBanned,
}}

const mostForgeries = 40 // the ban comes after 21

func forgeUntilBanned(ctx context.Context, x *exchange) error {
	forger, err := x.issuer.forger()
	if err != nil {
		return err
	}
	forged := func() handshake {
		return x.handshake().with("Authorization", "Bearer "+forger.token("admin", scopeEvents, time.Hour))
	}
	first := forged()
	if err := x.try(ctx, first, "A token with a forged signature:"); err != nil || x.outcome.Banned {
		return err
	}
	for n := 2; n <= mostForgeries; n++ {
		h := forged()
		answer, conn, err := x.send(ctx, h)
		if err != nil {
			return err
		}
		if conn != nil {
			conn.Close()
			return errors.New("a forged token was admitted")
		}
		if answer.Status == x.outcome.Status {
			continue
		}
		x.note(step{
			Sent:     "GET /ws HTTP/1.1\n…\nAuthorization: Bearer (another forged token each time)",
			Answered: "401 Unauthorized, each time",
			Note:     fmt.Sprintf("%d more, each with another forged token:", n-2),
		})
		x.record(h, answer, "")
		return nil
	}
	return fmt.Errorf("%d forged tokens and no ban", mostForgeries)
}

func attackNamed(id string) (attack, bool) {
	for _, a := range attacks {
		if a.ID == id {
			return a, true
		}
	}
	return attack{}, false
}

// outcome is what the page shows of one attack.
type outcome struct {
	ID         string `json:"id"`
	Title      string `json:"title"`
	Story      string `json:"story"`
	From       string `json:"from"`
	Option     string `json:"option"`
	Steps      []step `json:"steps"`
	Status     int    `json:"status"`               // of the last handshake
	CloseCode  int    `json:"close_code,omitempty"` // when a session was open
	Public     string `json:"public"`               // what the peer is told
	Reason     string `json:"reason,omitempty"`     // what the event says
	Banned     bool   `json:"banned,omitempty"`
	RetryAfter int    `json:"retry_after,omitempty"` // seconds
}

// step is one thing sent and its answer, as text. Mark is the line of Sent that is the attack.
type step struct {
	Sent     string `json:"sent"`
	Mark     string `json:"mark,omitempty"`
	Answered string `json:"answered"`
	Note     string `json:"note,omitempty"`
}

var errBusy = errors.New("another attack is running")

const attackTime = 15 * time.Second

// attackRunner runs one attack at a time against this very server, over real sockets.
type attackRunner struct {
	demo *demo
	busy chan struct{}
}

func newAttackRunner(d *demo) *attackRunner {
	return &attackRunner{demo: d, busy: make(chan struct{}, 1)}
}

func (r *attackRunner) run(ctx context.Context, a attack) (*outcome, error) {
	select {
	case r.busy <- struct{}{}:
		defer func() { <-r.busy }()
	default:
		return nil, errBusy
	}
	ctx, cancel := context.WithTimeout(ctx, attackTime)
	defer cancel()

	events, leave := r.demo.feed.events.watch()
	defer leave()
	x := newExchange(r.demo, a)
	began := time.Now()
	if err := a.steps(ctx, x); err != nil {
		return nil, err
	}
	if x.outcome.Banned && a.ID != "forged-ban" {
		x.outcome.Option = "LimitFailures: the forged tokens earned this address a ban"
	}
	x.outcome.Reason = reasonSeen(ctx, events, x, began)
	return &x.outcome, nil
}

// reasonSeen waits for the event of the decision: for a refusal the one that the problem document's instance names, for
// a session the one that closed with the code the attacker got. A session of the attack before may still be closing.
func reasonSeen(ctx context.Context, events <-chan wssecure.Event, x *exchange, began time.Time) string {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	for {
		select {
		case <-ctx.Done():
			return ""
		case e := <-events:
			refused := e.Kind == wssecure.EventRefused && x.instance != "" && e.ID == x.instance
			closed := e.Kind == wssecure.EventClosed && int(e.CloseCode) == x.outcome.CloseCode &&
				e.ClientIP == attackNetwork.Addr() && e.Time.After(began)
			if refused || closed {
				return string(e.Reason)
			}
		}
	}
}
