package wssecure

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/wssecure/wssecure/internal/wire"
)

// This file holds the writers that are handed on. Two kinds, since a writer that
// can do everything would let an ordinary request become a socket: plainWriter
// for whatever is no admitted upgrade, upgradeWriter for what is.

// innermost follows Unwrap to net/http's own writer: middleware that buffers or
// compresses would hold back a 101. A page writer of ours lets the guard inside
// it through; every other writer of ours is the end.
func innermost(w http.ResponseWriter) http.ResponseWriter {
	for {
		if p := plainOf(w); p != nil {
			if !p.pages {
				return w
			}
			w = p.inner
			continue
		}
		next := unwrap(w)
		if next == nil {
			return w
		}
		w = next
	}
}

// pagesAround finds the page writer of Pages around w, if any.
func pagesAround(w http.ResponseWriter) *plainWriter {
	for ; w != nil; w = unwrap(w) {
		if p := plainOf(w); p != nil && p.pages {
			return p
		}
	}
	return nil
}

// isAdmitted reports whether w already belongs to an upgrade that a guard has
// admitted: guards do not nest.
func isAdmitted(w http.ResponseWriter) bool {
	for ; w != nil; w = unwrap(w) {
		if _, ok := w.(interface{ upgrade() *upgradeWriter }); ok {
			return true
		}
	}
	return false
}

// unwrap is what w wraps, nil at the end of the chain.
func unwrap(w http.ResponseWriter) http.ResponseWriter {
	if u, ok := w.(interface{ Unwrap() http.ResponseWriter }); ok {
		return u.Unwrap()
	}
	return nil
}

func plainOf(w http.ResponseWriter) *plainWriter {
	if p, ok := w.(interface{ plain() *plainWriter }); ok {
		return p.plain()
	}
	return nil
}

// plainWriter serves a request that is no admitted upgrade: it adds the headers
// of its column, cannot be hijacked and turns a 101 into a 500.
type plainWriter struct {
	inner   http.ResponseWriter
	fill    func(http.Header) // nil: somebody outside fills in
	refused func()            // tells the operator that a 101 was refused
	pages   bool
	silent  bool // a guard inside answers by itself
	wrote   bool
	spoiled bool // a 101 was tried: what follows is dropped
}

var errSpoiled = errors.New("wssecure: the answer was replaced: only a guard switches protocols")

func (p *plainWriter) plain() *plainWriter { return p }

func (p *plainWriter) Header() http.Header { return p.inner.Header() }

func (p *plainWriter) WriteHeader(status int) {
	switch {
	case p.spoiled:
		return
	case status == http.StatusSwitchingProtocols && !p.silent:
		p.spoil()
		return
	case status >= 100 && status < 200:
		p.inner.WriteHeader(status)
		return
	}
	p.complete()
	p.inner.WriteHeader(status)
}

// complete adds the headers before the first byte goes out.
func (p *plainWriter) complete() {
	if p.wrote {
		return
	}
	p.wrote = true
	if p.fill != nil && !p.silent {
		p.fill(p.inner.Header())
	}
}

func (p *plainWriter) spoil() {
	if p.wrote {
		return
	}
	p.spoiled = true
	if p.refused != nil {
		p.refused()
	}
	h := p.inner.Header()
	for _, name := range []string{headerUpgrade, headerConnection, headerWSAccept, headerWSProtocol, headerWSExtensions} {
		delete(h, name)
	}
	p.complete()
	http.Error(p.inner, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
}

func (p *plainWriter) Write(b []byte) (int, error) {
	if p.spoiled {
		return 0, errSpoiled
	}
	p.complete()
	return p.inner.Write(b)
}

// Unwrap ends in a second writer of ours, never in net/http's: whoever walks the
// chain to its end would hold its Hijack.
func (p *plainWriter) Unwrap() http.ResponseWriter { return &sealedWriter{p} }

func (p *plainWriter) FlushError() error {
	if p.spoiled {
		return errSpoiled
	}
	p.complete()
	return http.NewResponseController(p.inner).Flush()
}

func (p *plainWriter) SetReadDeadline(t time.Time) error {
	return http.NewResponseController(p.inner).SetReadDeadline(t)
}

func (p *plainWriter) SetWriteDeadline(t time.Time) error {
	return http.NewResponseController(p.inner).SetWriteDeadline(t)
}

func (p *plainWriter) EnableFullDuplex() error {
	return http.NewResponseController(p.inner).EnableFullDuplex()
}

// sealedWriter is the end of a plainWriter's chain.
type sealedWriter struct{ p *plainWriter }

func (s *sealedWriter) plain() *plainWriter         { return s.p }
func (s *sealedWriter) Header() http.Header         { return s.p.Header() }
func (s *sealedWriter) WriteHeader(status int)      { s.p.WriteHeader(status) }
func (s *sealedWriter) Write(b []byte) (int, error) { return s.p.Write(b) }
func (s *sealedWriter) FlushError() error           { return s.p.FlushError() }

type (
	plainFlusher    struct{ p *plainWriter }
	plainReaderFrom struct{ p *plainWriter }
)

func (f plainFlusher) Flush() { _ = f.p.FlushError() }

func (f plainReaderFrom) ReadFrom(r io.Reader) (int64, error) {
	if f.p.spoiled {
		return 0, errSpoiled
	}
	f.p.complete()
	return f.p.inner.(io.ReaderFrom).ReadFrom(r)
}

// dress gives p the optional interfaces that its inner writer has, and no other,
// so that neighbours keep Flush, sendfile and server push.
func (p *plainWriter) dress() http.ResponseWriter {
	_, canFlush := p.inner.(http.Flusher)
	_, canRead := p.inner.(io.ReaderFrom)
	push, canPush := p.inner.(http.Pusher)
	f, r := plainFlusher{p}, plainReaderFrom{p}
	switch {
	case canFlush && canRead && canPush:
		return struct {
			*plainWriter
			http.Flusher
			io.ReaderFrom
			http.Pusher
		}{p, f, r, push}
	case canFlush && canRead:
		return struct {
			*plainWriter
			http.Flusher
			io.ReaderFrom
		}{p, f, r}
	case canFlush && canPush:
		return struct {
			*plainWriter
			http.Flusher
			http.Pusher
		}{p, f, push}
	case canRead && canPush:
		return struct {
			*plainWriter
			io.ReaderFrom
			http.Pusher
		}{p, r, push}
	case canFlush:
		return struct {
			*plainWriter
			http.Flusher
		}{p, f}
	case canRead:
		return struct {
			*plainWriter
			io.ReaderFrom
		}{p, r}
	case canPush:
		return struct {
			*plainWriter
			http.Pusher
		}{p, push}
	}
	return p
}

// upgradeWriter is what `next` gets with an admitted upgrade: its Hijack returns
// the metered connection.
type upgradeWriter struct {
	a        *attempt
	inner    http.ResponseWriter // the innermost one
	hijacker http.Hijacker
	status   int // of the answer, 0 while there is none

	taking   sync.Mutex // a Hijack on another goroutine must not pass the handler's return
	hijacked bool
	spoiled  bool // a false 101 was tried: what follows is dropped
	over     bool // the handler has returned without taking the connection
}

func (u *upgradeWriter) Header() http.Header { return u.inner.Header() }

// WriteHeader passes an answer on. A 101 belongs to a library that hijacks
// afterwards; it must be the handshake that the guard has judged.
func (u *upgradeWriter) WriteHeader(status int) {
	if u.status != 0 || u.hijacked {
		return
	}
	h := u.inner.Header()
	if status != http.StatusSwitchingProtocols {
		if status >= 200 {
			u.status = status
			u.a.policy.answerHeaders(h, u.a.secure, u.a.r.Host, false)
		}
		u.inner.WriteHeader(status)
		return
	}
	if fault := u.a.headFault(h); fault != "" {
		u.a.finding.err = fmt.Errorf("the handler's 101 %s", fault)
		u.a.abandon()
		u.status, u.spoiled = http.StatusInternalServerError, true
		u.a.answer(&Rejection{Reason: ReasonInternal})
		u.a.report(ReasonInternal)
		return
	}
	u.status = status
	fillHeader(h, headerHSTS, u.a.hsts())
	if len(linesOf(h, headerWSProtocol)) == 0 && u.a.creds.marker != "" && u.a.chosen == "" {
		h[headerWSProtocol] = []string{u.a.creds.marker}
	}
	u.inner.WriteHeader(status)
}

func (u *upgradeWriter) Write(b []byte) (int, error) {
	if u.hijacked {
		return 0, http.ErrHijacked
	}
	if u.spoiled {
		return 0, errSpoiled
	}
	if u.status == 0 {
		u.WriteHeader(http.StatusOK)
	}
	return u.inner.Write(b)
}

// Hijack returns the connection behind the meter, with an empty reader and a new
// writer bound to it: net/http's own would go round it.
func (u *upgradeWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	u.taking.Lock()
	defer u.taking.Unlock()
	if u.hijacked {
		return nil, nil, http.ErrHijacked
	}
	if u.over || u.status != 0 && u.status != http.StatusSwitchingProtocols {
		return nil, nil, http.ErrNotSupported
	}
	var head *wire.Head
	if u.status == 0 {
		head = u.a.head()
	}
	conn, err := u.a.hijack(u.hijacker, head)
	if err != nil {
		return nil, nil, err
	}
	u.hijacked = true
	return conn, bufio.NewReadWriter(bufio.NewReaderSize(conn, readBuffer), bufio.NewWriterSize(conn, writeBuffer)), nil
}

func (u *upgradeWriter) Unwrap() http.ResponseWriter { return &upgradeEnd{u} }

// FlushError is an answer where there is none yet, as with net/http.
func (u *upgradeWriter) FlushError() error {
	switch {
	case u.hijacked:
		return http.ErrHijacked
	case u.spoiled:
		return errSpoiled
	case u.status == 0:
		u.WriteHeader(http.StatusOK)
	}
	return http.NewResponseController(u.inner).Flush()
}

func (u *upgradeWriter) Flush() { _ = u.FlushError() }

func (u *upgradeWriter) SetReadDeadline(t time.Time) error {
	return http.NewResponseController(u.inner).SetReadDeadline(t)
}

func (u *upgradeWriter) SetWriteDeadline(t time.Time) error {
	return http.NewResponseController(u.inner).SetWriteDeadline(t)
}

// upgradeEnd is the end of an upgradeWriter's chain.
type upgradeEnd struct{ u *upgradeWriter }

func (e *upgradeEnd) Header() http.Header                          { return e.u.Header() }
func (e *upgradeEnd) WriteHeader(status int)                       { e.u.WriteHeader(status) }
func (e *upgradeEnd) Write(b []byte) (int, error)                  { return e.u.Write(b) }
func (e *upgradeEnd) Hijack() (net.Conn, *bufio.ReadWriter, error) { return e.u.Hijack() }
func (e *upgradeEnd) FlushError() error                            { return e.u.FlushError() }
func (u *upgradeWriter) upgrade() *upgradeWriter                   { return u }
func (e *upgradeEnd) upgrade() *upgradeWriter                      { return e.u }
