package interop_test

import (
	"encoding/binary"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wssecure/wssecure/internal/probe"
)

// A neighbour is an honest client of the same server: it says something forty
// times a second, wants it back, and answers pings.
type neighbour struct {
	conn      *probe.Conn
	exchanges atomic.Int64
	ended     chan error
}

// errClosedWith is the end of a neighbour by a close frame.
type errClosedWith struct {
	code   int
	reason string
}

func (e errClosedWith) Error() string { return fmt.Sprintf("close frame %d %q", e.code, e.reason) }

const neighbourName = "bob"

func (r *rig) neighbour(t testing.TB) *neighbour {
	t.Helper()
	n := &neighbour{conn: r.openAs(t, neighbourName), ended: make(chan error, 1)}
	go func() { n.ended <- n.talk() }()
	n.wantServed(t)
	return n
}

func (n *neighbour) talk() error {
	for i := 0; ; i++ {
		if err := n.exchange(fmt.Sprint("message ", i)); err != nil {
			return err
		}
		n.exchanges.Add(1)
		<-time.After(25 * time.Millisecond)
	}
}

func (n *neighbour) exchange(text string) error {
	if err := n.conn.SendFrame(probe.Message(probe.Text, []byte(text))); err != nil {
		return err
	}
	for {
		f, err := n.conn.ReadFrame()
		switch {
		case err != nil:
			return err
		case f.Opcode == probe.Ping:
			err = n.conn.SendFrame(probe.Message(probe.Pong, f.Payload))
		case f.Opcode == probe.Close && len(f.Payload) >= 2:
			_ = n.conn.Send(probe.AppendFrame(nil, probe.Message(probe.Close, f.Payload[:2])))
			return errClosedWith{int(binary.BigEndian.Uint16(f.Payload)), string(f.Payload[2:])}
		case string(f.Payload) == text:
			return nil
		default:
			return fmt.Errorf("opcode %d %q, want %q", f.Opcode, f.Payload, text)
		}
		if err != nil {
			return err
		}
	}
}

// wantServed wants an exchange that begins now.
func (n *neighbour) wantServed(t testing.TB) {
	t.Helper()
	before := n.exchanges.Load()
	for deadline := time.Now().Add(hang); n.exchanges.Load() < before+2; <-time.After(time.Millisecond) {
		select {
		case err := <-n.ended:
			t.Fatalf("the neighbour is not served any more: %v", err)
		default:
		}
		if time.Now().After(deadline) {
			t.Fatal("the neighbour waits for its echo")
		}
	}
}

// wantClosed wants the guard's own close frame.
func (n *neighbour) wantClosed(t testing.TB, code int, reason string) {
	t.Helper()
	select {
	case err := <-n.ended:
		if err != (errClosedWith{code, reason}) {
			t.Errorf("the neighbour ended with %v; want %d %q", err, code, reason)
		}
	case <-time.After(hang):
		t.Errorf("the neighbour saw no close frame %d %q", code, reason)
	}
}

// leave hangs up.
func (n *neighbour) leave(t testing.TB) {
	t.Helper()
	n.conn.Close()
	<-n.ended
}
