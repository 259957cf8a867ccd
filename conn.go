package wssecure

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"unicode/utf8"

	"github.com/coder/websocket"

	"github.com/wssecure/wssecure/internal/wire"
)

// MessageType is text or binary (RFC 6455 section 5.6).
type MessageType = websocket.MessageType

// StatusCode is a close code (RFC 6455 section 7.4).
type StatusCode = websocket.StatusCode

// Types of messages.
const (
	MessageText   = websocket.MessageText
	MessageBinary = websocket.MessageBinary
)

// Close codes that applications send and see; see also [StatusUnauthorized],
// [StatusForbidden] and [StatusTimeout].
const (
	StatusNormalClosure   = websocket.StatusNormalClosure
	StatusGoingAway       = websocket.StatusGoingAway
	StatusProtocolError   = websocket.StatusProtocolError
	StatusUnsupportedData = websocket.StatusUnsupportedData
	StatusPolicyViolation = websocket.StatusPolicyViolation
	StatusMessageTooBig   = websocket.StatusMessageTooBig
	StatusInternalError   = websocket.StatusInternalError
	StatusServiceRestart  = websocket.StatusServiceRestart
	StatusTryAgainLater   = websocket.StatusTryAgainLater
)

// Conn is a secured connection: its messages are whole, within the limits,
// valid UTF-8 where they are text, and filtered. Once the session has ended
// every call fails at once with an error that errors.Is the session's Reason.
// All methods may be called concurrently.
type Conn struct {
	session *Session
	ws      *websocket.Conn
	wire    *wire.Conn
	chosen  string
	unread  *bufio.Reader // the library's, where it inflates: what it was given and has not taken

	reading turn
	writing turn
	deaf    atomic.Bool // CloseRead was called
	probe   [1]byte
}

// readBuffer and writeBuffer hold a small message, since most sockets are idle
// most of the time. Busy ones lose little by it: the wire reads ahead inside a
// frame, and joins what comes of one in pieces.
const (
	readBuffer  = 256
	writeBuffer = 128
)

var errDeaf = errors.New("wssecure: Read after CloseRead")

// Session is the session of this connection.
func (c *Conn) Session() *Session { return c.session }

// Identity is who the session belongs to; nil for an anonymous one.
func (c *Conn) Identity() *Identity { return c.session.Identity() }

// Subprotocol is the one that was chosen of [AllowSubprotocols]; "" for none.
func (c *Conn) Subprotocol() string { return c.chosen }

// Read returns the next message in a slice that is the caller's. When ctx ends
// between messages Read returns its error and the session lives; a message that
// has begun is read to its end, within Limits.MessageTime.
func (c *Conn) Read(ctx context.Context) (MessageType, []byte, error) {
	return c.ReadInto(ctx, nil)
}

// ReadInto is Read into buf[:0]; a larger message gets a larger slice. It
// allocates nothing when the message fits. On error the slice is empty.
func (c *Conn) ReadInto(ctx context.Context, buf []byte) (MessageType, []byte, error) {
	if err := c.await(&c.reading, ctx); err != nil {
		return 0, buf[:0], err
	}
	defer c.reading.end()
	if c.deaf.Load() {
		return 0, buf[:0], errDeaf
	}
	for {
		typ, p, err := c.next(ctx, buf)
		if err != nil {
			return 0, buf[:0], err
		}
		if p != nil {
			return typ, p, nil
		}
	}
}

// next reads one message; p is nil when a filter has dropped it.
func (c *Conn) next(ctx context.Context, buf []byte) (MessageType, []byte, error) {
	if err := c.session.err(); err != nil {
		return 0, nil, err
	}
	stop, err := c.watch(ctx)
	if err != nil {
		return 0, nil, err
	}
	typ, r, err := c.ws.Reader((*readContext)(c))
	if stop != nil && stop.end() {
		c.wire.ClearInterrupt()
	}
	if err != nil {
		return 0, nil, c.noMessage(ctx, err)
	}
	p, err := c.fill(buf[:0], r)
	if err == nil && !c.tookAll() {
		err = errHidden
	}
	if err != nil {
		return 0, nil, c.readError(err)
	}
	if typ == MessageText && !utf8.Valid(p) {
		return 0, nil, c.session.endWith(&Rejection{Reason: ReasonUTF8}, ByGuard, 1007)
	}
	if p, err = c.filterIn(typ, p); err != nil {
		return 0, nil, err
	}
	// Nothing is delivered after an end, not even what was read before it.
	if err := c.session.err(); err != nil {
		return 0, nil, err
	}
	return typ, p, nil
}

// noMessage settles why there is no next message: an interruption, by which the
// session lives, or its end.
func (c *Conn) noMessage(ctx context.Context, err error) error {
	if !errors.Is(err, wire.ErrInterrupted) || c.session.err() != nil {
		return c.readError(err)
	}
	if c.deaf.Load() {
		return errDeaf
	}
	return c.endedOr(ctx.Err())
}

// watch lets the end of a context of the caller's own interrupt a Read between
// messages. The session's own context needs no watch: its end wakes the wire.
func (c *Conn) watch(ctx context.Context) (*interrupt, error) {
	if !c.foreign(ctx) {
		return nil, nil
	}
	if err := ctx.Err(); err != nil {
		return nil, c.endedOr(err)
	}
	return c.onEnd(ctx, c.wire.Interrupt), nil
}

// foreign reports whether ctx can end apart from the session. The session's own is
// known without its channel, which is made when somebody asks for it.
func (c *Conn) foreign(ctx context.Context) bool {
	own := c.session.Context()
	if ctx == own || ctx.Done() == nil {
		return false
	}
	return ctx.Done() != own.Done()
}

// interrupt is what the end of a caller's context does to the call under way.
type interrupt struct {
	do    func()
	stop  func() bool
	mu    sync.Mutex
	over  bool // the call has returned: a late end must not hit the next one
	fired bool
}

func (c *Conn) onEnd(ctx context.Context, do func()) *interrupt {
	i := &interrupt{do: do}
	i.stop = context.AfterFunc(ctx, i.fire)
	return i
}

func (i *interrupt) fire() {
	i.mu.Lock()
	defer i.mu.Unlock()
	if !i.over {
		i.fired = true
		i.do()
	}
}

// end says that the call has returned, and tells whether it was interrupted.
func (i *interrupt) end() bool {
	if i.stop() {
		return false
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.over = true
	return i.fired
}

// fill reads a message to its end. The wire has bounded it already, but for what
// inflates.
func (c *Conn) fill(p []byte, r io.Reader) ([]byte, error) {
	if p == nil {
		p = []byte{} // an empty message is not nil: nil is a dropped one
	}
	most := int(c.session.messageSize())
	for {
		if len(p) > most {
			return nil, &Rejection{Reason: ReasonMessageSize}
		}
		room := p[len(p):cap(p)]
		if len(room) == 0 {
			room = c.probe[:]
		}
		n, err := r.Read(room)
		if cap(p) == len(p) {
			p = append(p, room[:n]...)
		} else {
			p = p[:len(p)+n]
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
	}
	if len(p) > most {
		return nil, &Rejection{Reason: ReasonMessageSize}
	}
	return p, nil
}

var errHidden = errors.New("a compressed message ends before its frame")

// tookAll reports whether the library has taken the whole of a message that it has
// inflated. It reads frames from what it has not.
func (c *Conn) tookAll() bool {
	return c.unread == nil || c.unread.Buffered() == 0 && c.wire.BetweenMessages()
}

// readError settles why a read failed: the session's cause, when the wire or
// anybody else has ended it, or what the library found.
func (c *Conn) readError(err error) error {
	var rejection *Rejection
	if ended := c.session.err(); ended == nil {
		if errors.As(err, &rejection) {
			return c.session.endWith(rejection, ByGuard, 1008)
		}
		if websocket.CloseStatus(err) == -1 {
			// Only bytes that do not inflate reach the library: the wire judges all else.
			return c.session.endWith(&Rejection{Reason: ReasonProtocol, Err: err}, ByGuard, 1002)
		}
	}
	if websocket.CloseStatus(err) != -1 {
		return &Rejection{Reason: c.session.reasonOr(ReasonPeer), Err: err}
	}
	return c.session.err()
}

func (s *Session) reasonOr(r Reason) Reason {
	if c := s.cause.Load(); c != nil {
		return c.rejection.Reason
	}
	return r
}

var errNotText = errors.New("wssecure: the text is not valid UTF-8; send it as binary")

// Write sends one message. It returns when the message is handed to the
// connection, at the latest after Limits.Write of a peer that does not read.
// When ctx ends before the first byte Write returns its error and the session
// lives; after it the session ends: a frame cannot be taken back.
func (c *Conn) Write(ctx context.Context, typ MessageType, p []byte) error {
	switch {
	case typ != MessageText && typ != MessageBinary:
		return fmt.Errorf("wssecure: %d is no message type; use MessageText or MessageBinary", typ)
	case typ == MessageText && !utf8.Valid(p):
		return errNotText
	}
	if len(c.session.policy.onSend) > 0 {
		var err error
		if p, err = c.filterOut(typ, p); err != nil || p == nil {
			return err
		}
	}
	if err := c.await(&c.writing, ctx); err != nil {
		return err
	}
	defer c.writing.end()
	if err := c.session.err(); err != nil {
		return err
	}
	var cut *interrupt
	if c.foreign(ctx) {
		if err := ctx.Err(); err != nil { // as it waited: nothing of the message has gone out
			return c.endedOr(err)
		}
		cut = c.onEnd(ctx, c.cutWrite)
	}
	err := c.ws.Write(context.Background(), typ, p)
	if cut != nil {
		cut.end() // an end behind the frame's last byte cuts nothing
	}
	if err != nil {
		return c.writeError(err)
	}
	return nil
}

// await takes a turn, unless ctx or the session ends first.
func (c *Conn) await(t *turn, ctx context.Context) error {
	var ended <-chan struct{}
	if c.foreign(ctx) {
		if err := ctx.Err(); err != nil {
			return c.endedOr(err)
		}
		ended = ctx.Done()
	}
	if t.take(c.session.Context(), ended) {
		return nil
	}
	return c.endedOr(ctx.Err())
}

// endedOr is the error of a call whose context has ended: a context made from the
// session's ends with it, and then the session's cause is the news.
func (c *Conn) endedOr(err error) error {
	if ended := c.session.err(); ended != nil {
		return ended
	}
	return err
}

func (c *Conn) cutWrite() {
	c.session.end(cause{rejection: &Rejection{Reason: ReasonSlowReader, Err: errors.New("the context of Write ended inside a frame")}, by: ByGuard})
}

func (c *Conn) writeError(err error) error {
	if ended := c.session.err(); ended != nil {
		return ended
	}
	return c.session.end(cause{rejection: &Rejection{Reason: ReasonPeer, Err: err}, by: ByPeer})
}

// Close ends the session as [Session.Close] does.
func (c *Conn) Close(code StatusCode, reason string) error { return c.session.Close(code, reason) }

// CloseRead is for sessions that only send: it answers pings and the peer's
// close, and a data message from then on ends the session with 1008. Read then
// fails at once.
func (c *Conn) CloseRead() {
	if c.session.err() != nil || c.deaf.Swap(true) {
		return
	}
	c.wire.Interrupt()
	if !c.reading.take(c.session.Context(), nil) {
		return
	}
	defer c.reading.end()
	c.wire.ClearInterrupt()
	c.wire.UnwantData()
	go c.readOn()
}

// readOn lets the library answer control frames until the session ends. A
// message that reaches it was in the library's buffer before CloseRead: left
// there, nobody would listen to the peer any more, nor miss it.
func (c *Conn) readOn() {
	if _, _, err := c.ws.Reader((*readContext)(c)); err != nil {
		_ = c.readError(err)
		return
	}
	c.session.endWith(&Rejection{Reason: ReasonMessageInvalid}, ByGuard, 1008)
}
