package wssecure

import (
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
	"github.com/wssecure/wssecure/internal/wire"
)

// SetBrowserRefusals tells pages why they were refused. A browser shows a page
// nothing of an HTTP refusal but close code 1006; with this option the guard
// completes the handshake by itself and closes at once, with the public reason
// and 3000 (get another token), 3003 (not without more rights), 1008 (this
// request or this rate is not served) or 1013 (come back later). There is no
// session, the handler is not called, nonce and ticket stay unspent, and the one
// event is the HTTP refusal's.
//
// It is for handshakes whose Origin is admitted and which one of the checks from
// the ban on refuses; all others, and status 500, stay HTTP answers. So do those
// beyond 10,000 that are being closed at the same time: each may take a second.
func SetBrowserRefusals() Option {
	return func(d *draft) {
		if d.once("SetBrowserRefusals") {
			d.browserRefusals = true
		}
	}
}

// mostFarewells bounds the refused connections that are open for their close
// frame: a socket, its TLS state and a small goroutine each.
const mostFarewells = 10_000

// farewells counts them, and is the owner of each: nothing of theirs is counted
// or told but that they are over.
type farewells struct{ open atomic.Int64 }

func (f *farewells) Opened()                  {}
func (f *farewells) End(wire.Violation) error { return net.ErrClosed }
func (f *farewells) Finished()                { f.open.Add(-1) }

func (f *farewells) enter() bool {
	if f.open.Add(1) > mostFarewells {
		f.open.Add(-1)
		return false
	}
	return true
}

// farewellCode is the code of the close frame that tells a page of a refusal, 0
// for one that stays an HTTP answer.
func (a *attempt) farewellCode(r Reason) StatusCode {
	if !a.pageAdmitted || a.post {
		return 0
	}
	switch r {
	case ReasonAuthLevel:
		return StatusForbidden
	case ReasonBanned:
		return websocket.StatusPolicyViolation
	}
	switch a.status {
	case http.StatusUnauthorized:
		return StatusUnauthorized
	case http.StatusForbidden:
		return StatusForbidden
	case http.StatusBadRequest, http.StatusTooManyRequests:
		return websocket.StatusPolicyViolation
	case http.StatusServiceUnavailable:
		return websocket.StatusTryAgainLater
	}
	return 0
}

// closeInstead answers 101 and a close frame, and reports whether it could: else
// the refusal is still to be written.
func (a *attempt) closeInstead(r Reason) bool {
	if !a.policy.browserRefusals {
		return false
	}
	a.settleStatus(a.ruling(r))
	code := a.farewellCode(r)
	if code == 0 {
		return false
	}
	hijacker, ok := innermost(a.w).(http.Hijacker)
	if !ok || !a.farewells.enter() {
		return false
	}
	took := false
	defer func() {
		if !took { // middleware's Hijack may panic, too
			a.farewells.Finished()
		}
	}()
	raw, brw, err := hijacker.Hijack()
	if err != nil {
		return false
	}
	took = true
	// As for an admitted one the head goes out before the meter exists, but who
	// is refused has no longer than for all the rest.
	_ = raw.SetWriteDeadline(time.Now().Add(farewellTime))
	_, err = raw.Write(a.farewellHead())
	_ = raw.SetWriteDeadline(time.Time{})
	conn := wire.New(raw, earlyBytes(brw), &a.policy.session.wire, nil, &a.farewells)
	if err != nil {
		conn.Cut()
		return true
	}
	// Not Linger: net/http's goroutine holds the request and 8 KiB of buffers.
	conn.Finish(int(code), string(r.public()))
	return true
}

const farewellTime = time.Second

// farewellHead is a 101 that says nothing: of the headers that middleware has set
// none goes out, since browsers would keep a cookie. A browser that has offered
// subprotocols wants one of them named.
func (a *attempt) farewellHead() []byte {
	protocol := a.chosen
	if protocol == "" && len(a.offered) > 0 {
		protocol = a.offered[0]
	}
	if protocol == "" {
		protocol = a.creds.marker
	}
	b := append(make([]byte, 0, 512), "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "...)
	b = append(append(b, acceptOf(a.r.Header[headerWSKey][0])...), "\r\n"...)
	for _, line := range [...][2]string{{"Sec-WebSocket-Protocol", protocol}, {headerHSTS, first(a.hsts())}} {
		if line[1] != "" {
			b = append(append(append(append(b, line[0]...), ": "...), line[1]...), "\r\n"...)
		}
	}
	return append(b, "\r\n"...)
}
