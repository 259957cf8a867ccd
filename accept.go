package wssecure

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"sync"
	"time"

	"github.com/coder/websocket"
	"github.com/wssecure/wssecure/internal/wire"
)

// accept upgrades with coder/websocket and starts user code.
func (a *attempt) accept(serve func(ctx context.Context, c *Conn) error) {
	inner, hijacker, ctx, err := a.prepare()
	if err != nil {
		a.reject(err)
		return
	}
	d := doors.Get().(*door)
	defer d.free()
	d.buffers = bufio.ReadWriter{}
	d.a, d.outer, d.hijacker = a, inner.Header(), hijacker
	a.session.own = true
	a.running.enter()
	started := false
	defer func() {
		if !started {
			a.running.leave()
			a.acceptPanicked(d, recover())
		}
	}()
	ws, err := websocket.Accept(d, d.request(), a.acceptOptions())
	if err != nil {
		a.acceptFailed(d, err)
		return
	}
	ws.SetReadLimit(-1) // the wire and Conn bound messages, with the right reason
	c := &Conn{
		session: a.session, ws: ws, wire: d.conn, chosen: a.chosen,
	}
	if a.deflate {
		c.unread = d.buffers.Reader
	}
	started, a.parted = true, true
	go a.session.run(ctx, c, serve)
}

// acceptFailed refuses when nothing has been sent, and else lets the session
// end: the peer has gone during its 101.
func (a *attempt) acceptFailed(d *door, err error) {
	if d.conn == nil {
		a.finding.err = cmp.Or(d.err, err)
		if d.raw != nil {
			d.raw.Close()
			a.abandon()
			a.report(ReasonPeer)
			return
		}
		a.reject(ReasonInternal)
		return
	}
	d.conn.Close()
}

// acceptPanicked tells of a handshake whose connection middleware would not give
// without a panic, which goes on to net/http.
func (a *attempt) acceptPanicked(d *door, p any) {
	switch {
	case p == nil:
		return
	case d.conn != nil:
		d.conn.Close()
	default:
		a.finding.err = fmt.Errorf("the upgrade panicked: %v", p)
		a.abandon()
		a.report(ReasonInternal)
	}
	panic(p)
}

func (a *attempt) acceptOptions() *websocket.AcceptOptions {
	if a.chosen == "" && !a.deflate {
		return plainAccept
	}
	o := &websocket.AcceptOptions{InsecureSkipVerify: true, OnPingReceived: answerPing}
	if a.chosen != "" {
		o.Subprotocols = []string{a.chosen}
	}
	if a.deflate {
		o.CompressionMode = websocket.CompressionNoContextTakeover
	}
	return o
}

// plainAccept is what most handshakes need. The library copies it.
var plainAccept = &websocket.AcceptOptions{InsecureSkipVerify: true, OnPingReceived: answerPing}

var valuesUpgradeToken = []string{"Upgrade"}

// door is the writer that coder/websocket accepts on: at WriteHeader(101) it
// takes the connection and writes the head, at Hijack it gives the meter.
type door struct {
	a         *attempt
	outer     http.Header // what middleware outside has set
	header    http.Header
	hijacker  http.Hijacker
	raw       net.Conn
	conn      *wire.Conn
	err       error
	synthetic http.Request
	written   bytes.Buffer
	buffers   bufio.ReadWriter // the library takes them out of it
}

// doors are used again: Accept keeps neither its writer nor its request, and no
// function of the application sees either.
var doors = sync.Pool{New: func() any {
	return &door{header: http.Header{}, synthetic: http.Request{
		Method: http.MethodGet, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{},
	}}
}}

// free empties d of everything that is its handshake's.
func (d *door) free() {
	clear(d.header)
	clear(d.synthetic.Header)
	d.synthetic.Host = ""
	d.written.Reset()
	d.a, d.outer, d.hijacker, d.raw, d.conn, d.err = nil, nil, nil, nil, nil, nil
	doors.Put(d)
}

// request is the least that the library accepts: everything about the real one
// has been judged.
func (d *door) request() *http.Request {
	a, h := d.a, d.synthetic.Header
	h[headerConnection] = valuesUpgradeToken
	h[headerUpgrade] = valuesWebsocket
	h[headerWSVersion] = valuesVersion13
	h[headerWSKey] = a.r.Header[headerWSKey]
	if a.chosen != "" {
		h[headerWSProtocol] = []string{a.chosen}
	}
	if a.deflate {
		h[headerWSExtensions] = []string{deflateOffer}
	}
	d.synthetic.Host = a.r.Host
	return &d.synthetic
}

func (d *door) Header() http.Header { return d.header }

func (d *door) Write(b []byte) (int, error) { return len(b), nil }

func (d *door) WriteHeader(status int) {
	if status != http.StatusSwitchingProtocols || d.raw != nil {
		return
	}
	raw, brw, err := d.hijacker.Hijack()
	if err != nil {
		d.err = err
		return
	}
	d.raw = raw
	// The head is written before the meter exists: a peer that does not take it
	// must not hold the goroutine.
	_ = raw.SetWriteDeadline(time.Now().Add(headTime))
	if _, err := raw.Write(d.head()); err != nil {
		d.err = err
		return
	}
	_ = raw.SetWriteDeadline(time.Time{})
	d.conn = d.a.meter(raw, earlyBytes(brw), nil)
	if d.a.deflate {
		d.conn.Singly()
	}
}

const headTime = 5 * time.Second

func (d *door) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if d.conn == nil {
		return nil, nil, cmp.Or[error](d.err, http.ErrNotSupported)
	}
	d.buffers = bufio.ReadWriter{Reader: bufio.NewReaderSize(d.conn, readBuffer), Writer: bufio.NewWriterSize(d.conn, writeBuffer)}
	return d.conn, &d.buffers, nil
}

// head is the 101: what the library has set, the marker where no subprotocol was
// chosen, HSTS, and what middleware outside has set.
func (d *door) head() []byte {
	b := &d.written
	b.WriteString("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n")
	line := func(name, value string) {
		if value != "" {
			b.WriteString(name)
			b.WriteString(": ")
			b.WriteString(value)
			b.WriteString("\r\n")
		}
	}
	line("Sec-WebSocket-Accept", first(d.header[headerWSAccept]))
	protocol := first(d.header[headerWSProtocol])
	if protocol == "" {
		protocol = d.a.creds.marker
	}
	line("Sec-WebSocket-Protocol", protocol)
	line("Sec-WebSocket-Extensions", first(d.header[headerWSExtensions]))
	if len(d.outer[headerHSTS]) == 0 {
		line(headerHSTS, first(d.a.hsts()))
	}
	if len(d.outer) > 0 {
		_ = d.outer.WriteSubset(b, ownLines)
	}
	b.WriteString("\r\n")
	return b.Bytes()
}

// ownLines of a 101 are the guard's, whoever has set them before.
var ownLines = map[string]bool{
	headerUpgrade: true, headerConnection: true, headerWSAccept: true, headerWSProtocol: true, headerWSExtensions: true,
	"Content-Length": true, "Transfer-Encoding": true, headerContentType: true,
	headerCSP: true, headerFrame: true, headerSniff: true, headerReferrer: true, headerOpener: true, headerResource: true, headerCrossDomain: true,
}

// run is the goroutine of user code.
func (s *Session) run(ctx context.Context, c *Conn, serve func(context.Context, *Conn) error) {
	defer s.core.running.leave()
	// The library keeps pooled readers until it is closed; the session has ended
	// by then, so this only returns them.
	defer func() { _ = c.ws.CloseNow() }()
	returned := false
	defer func() {
		if p := recover(); p != nil || !returned {
			s.panicked(p) // or runtime.Goexit, which nothing recovers
		}
	}()
	err := serve(ctx, c)
	returned = true
	if err == nil {
		// This goroutine is done: it sees its connection off by itself.
		if w := s.settle(&causeDone); w != nil && w.Linger(int(causeDone.code), "") {
			(*owner)(s).Finished()
		}
		return
	}
	if errors.Is(err, context.Canceled) && s.err() == nil {
		err = fmt.Errorf("%w: %w", err, errForeignContext)
	}
	s.endWith(asRejection(err, ReasonInternal), ByApp, 1011)
}

// errForeignContext is said where the session itself has not ended.
var errForeignContext = errors.New("not the session's; the context of its request ends with the handshake, use the one that user code is given")

// panicked ends a session whose user code has panicked, and logs where.
func (s *Session) panicked(p any) {
	s.core.audit.line(alarm, "wssecure: user code panicked",
		slog.String("session.id", s.ID()), panicAttr(p), slog.String("stack", string(debug.Stack())))
	s.endWith(&Rejection{Reason: ReasonInternal, Err: fmt.Errorf("user code panicked: %v", p)}, ByApp, 1011)
}
