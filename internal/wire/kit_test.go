package wire_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wssecure/wssecure/internal/wire"
)

// open limits what a test does not care about so that it never shows.
func open() wire.Limits {
	free := wire.Rate{N: 1e9, Per: time.Second, Burst: 1e9}
	return wire.Limits{
		MessageSize: 64 << 10, Messages: free, Bytes: free, Controls: free, Fragments: 1024,
		MessageTime: 30 * time.Second, Pong: 45 * time.Second, Ping: 25 * time.Second, Write: 30 * time.Second,
		Text: true, Binary: true,
	}
}

type ended struct{ v wire.Violation }

func (e *ended) Error() string { return fmt.Sprint("ended by violation ", e.v) }

// session is an owner as the guard is one: the first cause wins, and ends.
type session struct {
	mu       sync.Mutex
	conn     *wire.Conn
	cause    wire.Violation
	at       time.Time
	code     int    // of the Finish; default 1008
	opening  func() // called by Opened
	opened   int
	finished int
	done     chan struct{}
}

func newSession(raw net.Conn, early []byte, l wire.Limits, h *wire.Head) *session {
	s := &session{code: 1008, done: make(chan struct{})}
	s.conn = wire.New(raw, early, &l, h, s)
	return s
}

func (s *session) Opened() {
	if s.opening != nil {
		s.opening()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.opened++
}

func (s *session) End(v wire.Violation) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cause == 0 {
		s.cause, s.at = v, time.Now()
		s.conn.Finish(s.code, "why")
	}
	return &ended{s.cause}
}

func (s *session) Finished() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.finished++; s.finished == 1 {
		close(s.done)
	}
}

func (s *session) violation() wire.Violation {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cause
}

func wantEnd(t *testing.T, err error, v wire.Violation) {
	t.Helper()
	if e := new(ended); !errors.As(err, &e) || e.v != v {
		t.Errorf("error is %v, want the end by violation %d", err, v)
	}
}

// bubble runs f in fake time with a session over a pipe, then ends it and sees
// that nothing of it is left: synctest fails on a goroutine that stays.
func bubble(t *testing.T, l wire.Limits, f func(t *testing.T, s *session, peer net.Conn)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		raw, peer := net.Pipe()
		s := newSession(raw, nil, l, nil)
		s.conn.Start()
		f(t, s, peer)
		s.conn.Cut()
		peer.Close()
		<-s.done
		time.Sleep(time.Minute) // the test's own peers go home
		if s.finished != 1 {
			t.Errorf("Finished %d times", s.finished)
		}
	})
}

// script is a raw connection that reads prepared packets, then ends.
type script struct {
	packets [][]byte
	wrote   []byte
	mu      sync.Mutex
}

func (s *script) Read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.packets) == 0 {
		return 0, io.EOF
	}
	n := copy(p, s.packets[0])
	if s.packets[0] = s.packets[0][n:]; len(s.packets[0]) == 0 {
		s.packets = s.packets[1:]
	}
	return n, nil
}

func (s *script) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wrote = append(s.wrote, p...)
	return len(p), nil
}

func (s *script) Close() error                     { return nil }
func (s *script) LocalAddr() net.Addr              { return nil }
func (s *script) RemoteAddr() net.Addr             { return nil }
func (s *script) SetDeadline(time.Time) error      { return nil }
func (s *script) SetReadDeadline(time.Time) error  { return nil }
func (s *script) SetWriteDeadline(time.Time) error { return nil }

const (
	fin  = 0x80
	rsv1 = 0x40

	opText   = 1
	opBinary = 2
	opClose  = 8
	opPing   = 9
	opPong   = 10
)

var key = [4]byte{0xA1, 0x0B, 0xFF, 0x5E}

// masked is a client's frame, its length in the shortest form.
func masked(first byte, payload []byte) []byte {
	return append(maskedHead(first, uint64(len(payload)), 0), xor(payload)...)
}

// maskedHead declares n bytes in a form: 7, 16 or 64 bits, 0 for the shortest.
func maskedHead(first byte, n uint64, form int) []byte {
	return append(lengthHead(first, 0x80, n, form), key[:]...)
}

func lengthHead(first, mask byte, n uint64, form int) []byte {
	switch {
	case form == 64, form == 0 && n > 0xFFFF:
		return binary.BigEndian.AppendUint64([]byte{first, mask | 127}, n)
	case form == 16, form == 0 && n > 125:
		return binary.BigEndian.AppendUint16([]byte{first, mask | 126}, uint16(n))
	}
	return []byte{first, mask | byte(n)}
}

func xor(p []byte) []byte {
	p = slices.Clone(p)
	for i := range p {
		p[i] ^= key[i%4]
	}
	return p
}

// plain is a server's frame.
func plain(first byte, payload []byte) []byte {
	return append(lengthHead(first, 0, uint64(len(payload)), 0), payload...)
}

func closing(code int, reason string) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(code)), reason...)
}

func join(parts ...[]byte) []byte { return slices.Concat(parts...) }

// readFrame reads one frame of a server from the peer's end.
func readFrame(t *testing.T, peer net.Conn) (first byte, payload []byte) {
	t.Helper()
	var h [2]byte
	if _, err := io.ReadFull(peer, h[:]); err != nil {
		t.Fatalf("no frame: %v", err)
	}
	n := int(h[1])
	if n == 126 {
		var l [2]byte
		io.ReadFull(peer, l[:])
		n = int(binary.BigEndian.Uint16(l[:]))
	}
	payload = make([]byte, n)
	if _, err := io.ReadFull(peer, payload); err != nil {
		t.Fatalf("half a frame: %v", err)
	}
	return h[0], payload
}

// readAll is a library that reads all, n bytes at a time.
func readAll(c net.Conn, n int) ([]byte, error) {
	var all []byte
	p := make([]byte, n)
	for {
		k, err := c.Read(p)
		all = append(all, p[:k]...)
		if err != nil {
			return all, err
		}
	}
}

// library reads until the end.
func library(s *session) <-chan error {
	end := make(chan error, 1)
	go func() {
		_, err := readAll(s.conn, 512)
		end <- err
	}()
	return end
}

// An arrival is a frame at the peer's end.
type arrival struct {
	first   byte
	payload []byte
	at      time.Time
}

// arrivals reads the peer's end until it is closed.
func arrivals(peer net.Conn) <-chan arrival {
	ch := make(chan arrival, 10000)
	go func() {
		defer close(ch)
		var h [2]byte
		for {
			if _, err := io.ReadFull(peer, h[:]); err != nil {
				return
			}
			p := make([]byte, h[1])
			if _, err := io.ReadFull(peer, p); err != nil {
				return
			}
			ch <- arrival{h[0], p, time.Now()}
		}
	}()
	return ch
}

// endsAfter sees the session end with v at least lo and at most hi from now.
func endsAfter(t *testing.T, s *session, end <-chan error, v wire.Violation, lo, hi time.Duration) {
	t.Helper()
	start := time.Now()
	select {
	case err := <-end:
		wantEnd(t, err, v)
	case <-time.After(hi + time.Hour):
		t.Fatalf("no end %v after it was due", time.Hour)
	}
	if took := time.Since(start); took < lo || took > hi {
		t.Errorf("ended after %v, want %v to %v", took, lo, hi)
	}
}
