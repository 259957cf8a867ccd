package wssecure

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/wssecure/wssecure/internal/quote"
	"github.com/wssecure/wssecure/internal/wire"
)

// cause is why a session ended.
type cause struct {
	rejection *Rejection
	by        By
	code      StatusCode // 0: no close frame, the connection is cut
	text      string
	again     bool // the same bad token failed within the last minute
}

// causeDone is that of user code which returned without an error.
var causeDone = cause{rejection: &Rejection{Reason: ReasonDone}, by: ByApp, code: 1000}

// Close ends the session with a close frame of the application: code 1000 or
// 3000 to 4999 (RFC 6455 section 7.4.2); any other is sent as 1011 and is an
// error. The reason is cut to 123 bytes. On a session that has ended it does
// nothing. It does not wait for the peer.
func (s *Session) Close(code StatusCode, reason string) error {
	var err error
	if code != 1000 && (code < 3000 || code > 4999) {
		err = fmt.Errorf("wssecure: close code %d is not the application's; use 1000 or 3000 to 4999", code)
		code = 1011
	}
	s.end(cause{rejection: &Rejection{Reason: ReasonDone}, by: ByApp, code: code, text: closeText(reason)})
	return err
}

// closeText is reason as a close frame can carry it.
func closeText(reason string) string {
	reason = strings.ToValidUTF8(reason, "\uFFFD")
	if len(reason) <= 123 {
		return reason
	}
	cut := 123
	for !utf8.RuneStart(reason[cut]) {
		cut--
	}
	return reason[:cut]
}

// end ends the session for c unless it has ended: cause, context, close frame;
// the wire sees to grace and cut. It returns the rejection that counts.
func (s *Session) end(c cause) *Rejection {
	if w := s.settle(&c); w != nil {
		w.Finish(int(c.code), c.text)
	}
	return s.cause.Load().rejection
}

// settle makes c the cause unless there is one, and returns the connection that
// is to be finished for it, nil when there is none.
func (s *Session) settle(c *cause) *wire.Conn {
	if !s.cause.CompareAndSwap(nil, c) {
		return nil
	}
	s.endContext(c.rejection)
	return s.connection()
}

// endWith ends the session for an error, with the reason's close code or, where
// it has none, fallback.
func (s *Session) endWith(rejection *Rejection, by By, fallback StatusCode) *Rejection {
	code := rejection.Reason.CloseCode()
	if code == 0 {
		code = fallback
	}
	return s.end(cause{rejection: rejection, by: by, code: code, text: rejection.Reason.publicClose()})
}

// err is what every call on an ended session returns, nil while it lives.
func (s *Session) err() error {
	if c := s.cause.Load(); c != nil {
		return c.rejection
	}
	return nil
}

// owner is the session as the wire sees it.
type owner Session

// Opened is called when a library's own 101 goes out.
func (o *owner) Opened() { (*Session)(o).markOpen() }

// End maps what the wire found to a reason.
func (o *owner) End(v wire.Violation) error {
	s := (*Session)(o)
	switch v {
	case wire.PeerClosed, wire.PeerGone:
		return s.end(cause{rejection: &Rejection{Reason: ReasonPeer}, by: ByPeer})
	case wire.AppClosed:
		if s.own {
			return s.stalled()
		}
		fallthrough
	case wire.OtherStatus:
		return s.end(cause{rejection: &Rejection{Reason: ReasonDone}, by: ByApp})
	case wire.BadHead, wire.NoHead, wire.BadStream:
		return s.end(cause{rejection: &Rejection{Reason: ReasonInternal, Err: wireError(v)}, by: ByApp})
	}
	return s.endWith(&Rejection{Reason: wireReason(v)}, ByGuard, 1011)
}

// stalled ends a session whose connection our own library has closed: it does so
// for one cause only, a control frame that the peer has left unfinished for five
// seconds.
func (s *Session) stalled() *Rejection {
	return s.endWith(&Rejection{Reason: ReasonMessageTime, Err: errControlStalled}, ByGuard, 1008)
}

// Finished is called when the connection is closed.
func (o *owner) Finished() {
	s := (*Session)(o)
	defer s.core.sessions.leave() // last: who waits for it finds the session counted
	if s.cause.Load() == nil {
		_ = o.End(wire.PeerGone)
	}
	opened := s.running.Load()
	if !opened {
		s.takeBack()
	}
	s.core.giveBack(s.unlist())
	s.core.open.Add(-1)
	if !opened {
		s.reportUnopened()
		return
	}
	s.reportClosed()
}

var (
	errBadHead        = errors.New("the handler's 101 is not the handshake that the guard has judged")
	errNoHead         = errors.New("the handler took the connection and wrote no answer")
	errBadStream      = errors.New("the handler wrote bytes that are no frames")
	errControlStalled = errors.New("a control frame was left unfinished")
)

func wireError(v wire.Violation) error {
	switch v {
	case wire.BadHead:
		return errBadHead
	case wire.NoHead:
		return errNoHead
	}
	return errBadStream
}

// wireReason is the reason of a violation that the wire names.
func wireReason(v wire.Violation) Reason {
	switch v {
	case wire.Protocol:
		return ReasonProtocol
	case wire.MessageType:
		return ReasonMessageType
	case wire.MessageSize:
		return ReasonMessageSize
	case wire.Fragments:
		return ReasonFragments
	case wire.MessageTime:
		return ReasonMessageTime
	case wire.MessageRate:
		return ReasonMessageRate
	case wire.ControlRate:
		return ReasonControlRate
	case wire.SlowReader:
		return ReasonSlowReader
	case wire.NoPong:
		return ReasonPong
	case wire.IdleTimeout:
		return ReasonIdle
	case wire.CutOff:
		return ReasonUnavailable
	case wire.Lifetime:
		return ReasonLifetime
	case wire.Expired:
		return ReasonTokenExpired
	case wire.DataUnwanted:
		return ReasonMessageInvalid
	}
	return ReasonInternal
}

// reportClosed counts the end and, when somebody listens, emits the one closed
// event.
func (s *Session) reportClosed() {
	reason := s.cause.Load().rejection.Reason
	s.core.audit.count(EventClosed, reason)
	if reason.ruling().fails == failYes && !s.cause.Load().again {
		s.core.chargeFailure(s.policy, failureBy{client: s.ClientIP(), origin: s.origin, identity: s.Identity(), custom: s.failKeys(), reason: reason})
	}
	if s.core.audit.wanted(reason.level(), s.policy.hooks) {
		s.emitClosed()
	}
}

func (s *Session) emitClosed() {
	c, n := s.cause.Load(), s.wire.Counters()
	e := s.event(EventClosed)
	e.Time, e.Reason, e.By, e.Err = time.Now().UTC(), c.rejection.Reason, c.by, c.rejection.Err
	e.Took = time.Since(s.opened())
	e.In, e.Out = traffic(n)
	e.PeerCode = StatusCode(n.PeerCode)
	if said := s.wire.PeerReason(); said != c.text { // else it gives back our own
		e.Seen = quote.Cut(said, quote.Value)
	}
	if c.by == ByGuard && s.late.Load() == nil {
		e.Wanted = s.limits.Load().bound(e.Reason)
	}
	e.CloseCode = closeCode(n)
	e.Count = max(0, s.messages.Load()-1) // the first refused message has its own event
	s.core.audit.emit(e, s.policy.hooks)
}

func traffic(n wire.Counters) (in, out Traffic) {
	return Traffic{n.InMessages, n.InBytes}, Traffic{n.OutMessages, n.OutBytes}
}

// closeCode is the code that the session ended with: the first that went over
// the wire, 1006 when there was none.
func closeCode(n wire.Counters) StatusCode {
	switch {
	case n.SentCode != 0:
		return StatusCode(n.SentCode)
	case n.PeerCode != 0:
		return StatusCode(n.PeerCode)
	}
	return 1006
}

// reportUnopened emits the one event of an upgrade that was admitted and whose
// handler never switched protocols.
func (s *Session) reportUnopened() {
	c := s.cause.Load()
	status := int(s.wire.Counters().Status)
	s.core.reportUnserved(s.policy, s.event(EventRefused), unservedReason(c.rejection.Reason, status), status, c.rejection.Err)
}

// unservedReason is the reason of a handler's own answer to an admitted upgrade.
func unservedReason(r Reason, status int) Reason {
	switch {
	case r != ReasonDone:
		return r
	case status >= 500:
		return ReasonInternal
	case status >= 400:
		return ReasonForbidden
	}
	return ReasonDone
}

func (c *core) reportUnserved(p *policy, e Event, r Reason, status int, err error) {
	c.audit.count(EventRefused, r)
	now := time.Now().UTC()
	e.Took = now.Sub(e.Time) // since the handshake came
	e.Kind, e.Time, e.Reason, e.Status, e.Err, e.By = EventRefused, now, r, status, err, ByApp
	if status == http.StatusForbidden {
		e.Hint = hintInnerRefused
	}
	c.audit.emit(e, p.hooks)
}
