package wssecure

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wssecure/wssecure/internal/quote"
	"github.com/wssecure/wssecure/internal/token"
)

// EventKind says what an [Event] reports.
type EventKind string

// Kinds of events. Every handshake that reaches the guard gives one
// EventRefused, or one EventOpened and one EventClosed. Connections that are cut
// before there is one, as by [Guard.Listener], give one a minute.
//
// docs/operations.md says of each kind when it comes and what to do about it.
const (
	EventRefused        EventKind = "handshake.refused"
	EventOpened         EventKind = "session.opened"
	EventRenewed        EventKind = "session.renewed" // its credential was replaced, or came late
	EventClosed         EventKind = "session.closed"
	EventMessageRefused EventKind = "message.refused"
	EventRevoked        EventKind = "revoked"
	EventBanned         EventKind = "banned"
	EventUnbanned       EventKind = "unbanned"
	EventHint           EventKind = "hint"
	EventStarted        EventKind = "guard.started"
	EventInsecure       EventKind = "guard.insecure"
	EventDraining       EventKind = "guard.draining"
	EventKeysRefreshed  EventKind = "jwks.refreshed"
	EventKeysFailed     EventKind = "jwks.failed"
	EventCertReloaded   EventKind = "cert.reloaded"
	EventCertFailed     EventKind = "cert.reload_failed"
	EventCertExpiring   EventKind = "cert.expiring"
	EventStoreFailed    EventKind = "auth.unavailable"
	EventStoreDown      EventKind = "store.down" // the shared store does not answer; see store.OnError
	EventStoreUp        EventKind = "store.up"
	EventAuditDropped   EventKind = "audit.dropped"
)

// By says who ended a session, or set or lifted a ban.
type By string

// Who ends sessions, and bans.
const (
	ByGuard By = "guard"
	ByPeer  By = "peer"
	ByApp   By = "app"
)

// Traffic counts what crossed the wire in one direction.
type Traffic struct {
	Messages int64
	Bytes    int64 // wire bytes, frame headers included
}

// Event is one decision. Text that a peer chose is quoted and cut; credentials
// and payloads are never part of it.
type Event struct {
	Kind       EventKind
	Time       time.Time // UTC
	ID         string    // of the handshake: "instance" of the problem body
	Reason     Reason
	Check      string // the check that decided
	ReportOnly bool
	Local      bool // decided by this node alone, while the shared store was away
	Status     int  // HTTP status of a refusal

	SessionID string
	CloseCode StatusCode // the code the session ended with; 1006 when there was no close frame
	PeerCode  StatusCode // the code the peer sent, 0 for none
	By        By

	Origin, Host, Path string // the path is without its query
	Issuer, Subject    string
	ClientIP, PeerIP   netip.Addr

	Seen, Wanted string // what a refusing check saw, and what it wanted; of a session the peer's words, and the limit that it met
	Hint         string // what the operator may want to do about it; why, of a revocation, a ban or a hole; the URL of a key set
	Err          error
	Took         time.Duration // of the handshake; of the session when it closed
	In, Out      Traffic

	TLSVersion, TLSSuite, TLSCurve string

	Count int64 // events that this one stands for beside itself, as refused messages after a session's first; sessions revoked here, keys fetched, events dropped
}

// eventID is drawn afresh for every handshake. It finds an event and opens
// nothing, so it comes from the runtime's own generator, at a quarter of the
// cost of the system's: a flood pays for each.
type eventID [16]byte

func newEventID() (id eventID) {
	binary.LittleEndian.PutUint64(id[:8], rand.Uint64())
	binary.LittleEndian.PutUint64(id[8:], rand.Uint64())
	return id
}

func (id eventID) String() string { return hex.EncodeToString(id[:]) }

// OnEvent calls fn for every event of the guard, one at a time and off the path
// of handshakes and messages. Up to 8,192 events wait for a slow fn; what comes
// beyond is dropped and counted in an EventAuditDropped. A panic is recovered.
func OnEvent(fn func(Event)) Option {
	return func(d *draft) {
		if fn == nil {
			d.fault("OnEvent", "the function is nil; pass one, or leave the option out")
			return
		}
		d.hooks = append(slices.Clip(d.hooks), fn)
	}
}

// SetLogger writes the guard's events to l instead of slog's default logger. Of
// refusals it gets a sample: five a minute of one reason and address, then every
// hundredth, and never more than 200 lines a second. What an operator should look
// at is a warning or an error, what is everyday business is info or debug: at
// debug are sessions that the peer or the application ends, and requests that are
// no handshake.
func SetLogger(l *slog.Logger) Option {
	return func(d *draft) {
		if !d.processWide("SetLogger") {
			return
		}
		if l == nil {
			d.fault("SetLogger", "the logger is nil; pass one, or leave the option out")
			return
		}
		d.logger = l
	}
}

// Stats are exact counters since New.
type Stats struct {
	Admitted        uint64            // sessions opened
	Open            int64             // sessions open now, handshakes that hold a place included
	Refused         map[Reason]uint64 // handshakes by reason
	Closed          map[Reason]uint64 // sessions by reason
	AcceptsRefused  map[Reason]uint64 // connections closed before TLS: ReasonBanned, ReasonRate
	MessagesRefused uint64
	EventsDropped   uint64 // not delivered to OnEvent
	EventsSampled   uint64 // refusals not given to the logger
	Evictions       uint64 // live cells that a full table forgot
	CertificateDays int    // until SetCertificate's leaf ends; 0 without it
}

// Stats gives the guard's exact counters.
func (g *Guard) Stats() Stats {
	var s Stats
	g.core.audit.stats(&s)
	s.Open = g.core.open.Load()
	if e, ok := g.core.store.(interface{ Evictions() uint64 }); ok {
		s.Evictions = e.Evictions()
	}
	if g.core.certs != nil {
		s.CertificateDays = int(time.Until(g.core.certs.NotAfter()) / (24 * time.Hour))
	}
	return s
}

// event begins the event of an attempt.
func (a *attempt) event(kind EventKind) Event {
	seen, wanted := a.finding.seen, a.finding.wanted
	if a.finding.say != nil {
		seen, wanted = a.finding.say(a)
	}
	e := Event{
		Kind: kind, Time: time.Now().UTC(), ID: a.id.String(), Check: a.checkName(), Local: a.decidedHere,
		Origin:   quotedOrigin(a.r.Header),
		Host:     quote.Cut(a.r.Host, quote.Value),
		Path:     strings.Clone(quote.Cut(a.r.URL.Path, quote.Value)),
		ClientIP: a.client, PeerIP: a.peer,
		Seen: quote.Cut(seen, quote.Value), Wanted: wanted, Hint: a.hint, Err: a.discreet(a.finding.err),
	}
	e.name(a.identity)
	if t := a.r.TLS; t != nil {
		e.TLSVersion, e.TLSSuite, e.TLSCurve = tlsFacts{t.Version, t.CipherSuite, t.CurveID}.names()
	}
	return e
}

// event begins an event of a session, dated to its handshake.
func (s *Session) event(kind EventKind) Event {
	f, asked := &s.from, s.asked
	e := Event{
		Kind: kind, Time: f.started.UTC(), ID: f.id.String(), SessionID: s.ID(), Local: f.local,
		Origin:   quote.Cut(asked.origin, quote.Origin),
		Host:     quote.Cut(asked.host, quote.Value),
		Path:     strings.Clone(quote.Cut(asked.url.Path, quote.Value)),
		ClientIP: s.ClientIP(), PeerIP: f.peer, Hint: asked.hint,
	}
	if asked.tls.version != 0 {
		e.TLSVersion, e.TLSSuite, e.TLSCurve = asked.tls.names()
	}
	e.name(s.Identity())
	return e
}

// name says who the event is about: an issuer may let people choose their sub.
func (e *Event) name(id *Identity) {
	if id != nil {
		e.Issuer, e.Subject = quote.Cut(id.Issuer, quote.Value), quote.Cut(id.Subject, quote.Value)
	}
}

// shortestSecret is what is worth hiding: a shorter text is in words by chance.
const shortestSecret = 8

// discreet keeps the credential out of what an error of the application says: a
// verifier may well quote it, as net/http's errors quote a URL.
func (a *attempt) discreet(err error) error { return without(err, a.creds.text) }

func without(err error, text string) error {
	var ours *token.Error
	if err == nil || len(text) < shortestSecret || errors.As(err, &ours) {
		return err
	}
	said := err.Error()
	hidden := said
	for _, spelling := range []string{text, url.QueryEscape(text), strings.Trim(strconv.Quote(text), `"`)} {
		hidden = strings.ReplaceAll(hidden, spelling, "(credential)")
	}
	if hidden == said {
		return err
	}
	return errors.New(hidden)
}

// terms are what the log calls the fields that mean different things in events
// of different kinds: a why is no hint, and keys are no suppressed events.
func (k EventKind) terms() (hint, by, count string) {
	hint, by, count = "hint", "close.by", "suppressed"
	switch k {
	case EventInsecure:
		hint = "why"
	case EventRevoked:
		hint, count = "why", "sessions"
	case EventBanned, EventUnbanned:
		hint, by = "why", "by"
	case EventKeysRefreshed, EventKeysFailed:
		hint, count = "url", "keys"
	case EventAuditDropped:
		count = "dropped"
	}
	return hint, by, count
}

// attrs are the event's fields for the log: dotted keys, none that is empty.
func (e *Event) attrs(out []slog.Attr) []slog.Attr {
	text := func(key, value string) {
		if value != "" {
			out = append(out, slog.String(key, value))
		}
	}
	number := func(key string, value int64) {
		if value != 0 {
			out = append(out, slog.Int64(key, value))
		}
	}
	hint, by, count := e.Kind.terms()
	text("event.kind", string(e.Kind))
	text("event.id", e.ID)
	text("reason", string(e.Reason))
	text("check", e.Check)
	if e.Local {
		out = append(out, slog.Bool("store.local", true))
	}
	number("http.status", int64(e.Status))
	text("session.id", e.SessionID)
	number("close.code", int64(e.CloseCode))
	number("close.peer_code", int64(e.PeerCode))
	text(by, string(e.By))
	text("origin", e.Origin)
	text("host", e.Host)
	text("path", e.Path)
	text("identity.issuer", e.Issuer)
	text("identity.subject", e.Subject)
	if e.ClientIP.IsValid() {
		text("client.ip", e.ClientIP.String())
	}
	if e.PeerIP.IsValid() && e.PeerIP != e.ClientIP {
		text("peer.ip", e.PeerIP.String())
	}
	text("seen", e.Seen)
	text("wanted", e.Wanted)
	text(hint, e.Hint)
	if e.Err != nil {
		text("error", quote.Text(e.Err.Error(), quote.Value))
	}
	if e.Took > 0 {
		out = append(out, slog.Duration("took", e.Took))
	}
	number("in.messages", e.In.Messages)
	number("in.bytes", e.In.Bytes)
	number("out.messages", e.Out.Messages)
	number("out.bytes", e.Out.Bytes)
	text("tls.version", e.TLSVersion)
	text("tls.suite", e.TLSSuite)
	text("tls.curve", e.TLSCurve)
	number(count, e.Count)
	return out
}

// level is the event's importance: a refusal's and an end's by its reason.
func (e *Event) level() slog.Level {
	switch e.Kind {
	case EventRefused, EventClosed, EventMessageRefused:
		return e.Reason.level()
	case EventBanned, EventHint, EventInsecure, EventCertExpiring:
		return warn
	case EventKeysFailed, EventCertFailed, EventStoreFailed, EventStoreDown, EventAuditDropped:
		return alarm
	}
	return info
}
