package wssecure

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"
)

// A Filter sees a whole message before user code gets it, or before it is sent,
// and returns what goes on: p itself, or another slice. nil drops the message,
// an error refuses it. p is valid until the filter returns. See package filter
// for ready ones.
type Filter func(ctx context.Context, c *Conn, typ MessageType, p []byte) ([]byte, error)

// OnMessage passes every inbound message through the filters, in order, before
// Read returns it. An error ends the session: with its Reason's close code, else
// with 1008. It needs ConnHandler: a guard with it refuses every upgrade of
// Handler.
func OnMessage(filters ...Filter) Option {
	return func(d *draft) { d.onMessage = d.addFilters("OnMessage", d.onMessage, filters) }
}

// OnSend passes every outbound message through the filters, in order, before it
// is sent. Write returns their error and the session lives, unless the error has
// a *Rejection. It needs ConnHandler like [OnMessage].
func OnSend(filters ...Filter) Option {
	return func(d *draft) { d.onSend = d.addFilters("OnSend", d.onSend, filters) }
}

func (d *draft) addFilters(option string, have, more []Filter) []Filter {
	if len(more) == 0 {
		d.fault(option, "the list is empty; pass a filter, or leave the option out")
	}
	if slices.ContainsFunc(more, func(f Filter) bool { return f == nil }) {
		d.fault(option, "a filter is nil; remove it")
		return have
	}
	return append(slices.Clip(have), more...)
}

// filterIn passes a message through OnMessage.
func (c *Conn) filterIn(typ MessageType, p []byte) ([]byte, error) {
	for _, f := range c.session.policy.onMessage {
		out, err := c.callFilter(f, typ, p)
		if err != nil {
			c.session.refuseMessage(err)
			return nil, c.session.endWith(asRejection(err, ReasonMessageInvalid), ByGuard, 1008)
		}
		if out == nil {
			return nil, nil
		}
		if err := c.checkFiltered(typ, out); err != nil {
			return nil, c.session.endWith(&Rejection{Reason: ReasonInternal, Err: err}, ByGuard, 1011)
		}
		p = out
	}
	return p, nil
}

// callFilter survives a filter that panics: that ends the session with 1011.
func (c *Conn) callFilter(f Filter, typ MessageType, p []byte) (out []byte, err error) {
	defer func() {
		if x := recover(); x != nil {
			out, err = nil, &Rejection{Reason: ReasonInternal, Err: fmt.Errorf("a filter panicked: %v", x)}
		}
	}()
	return f(c.session.Context(), c, typ, p)
}

func (c *Conn) checkFiltered(typ MessageType, p []byte) error {
	if int64(len(p)) > c.session.limits.Load().MessageSize {
		return fmt.Errorf("a filter made the message %d bytes long", len(p))
	}
	if typ == MessageText && !utf8.Valid(p) {
		return errors.New("a filter made the text invalid UTF-8")
	}
	return nil
}

// refuseMessage reports a message that a filter refused: the first one and, with
// the session, their number.
func (s *Session) refuseMessage(err error) {
	s.core.audit.count(EventMessageRefused, "")
	if s.messages.Add(1) > 1 || !s.core.audit.wanted(info, s.policy.hooks) {
		return
	}
	e := s.event(EventMessageRefused)
	e.Time, e.Check, e.Err, e.Reason = time.Now().UTC(), "filters", err, ReasonMessageInvalid
	s.core.audit.emit(e, s.policy.hooks)
}

// filterOut passes a message through OnSend; p is nil when it was dropped.
func (c *Conn) filterOut(typ MessageType, p []byte) ([]byte, error) {
	if p == nil {
		p = []byte{}
	}
	for _, f := range c.session.policy.onSend {
		out, err := c.callFilter(f, typ, p)
		var rejection *Rejection
		if errors.As(err, &rejection) {
			return nil, c.session.endWith(asRejection(err, ReasonInternal), ByGuard, 1008)
		}
		if err != nil {
			c.session.refuseMessage(err)
			return nil, err
		}
		if out == nil {
			return nil, nil
		}
		if typ == MessageText && !utf8.Valid(out) {
			return nil, errNotText
		}
		p = out
	}
	return p, nil
}
