package wssecure_test

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/internal/probe"
)

// W-31: a peer that takes a long message slowly, but within Limits.Write, may ask
// meanwhile whether we are alive: its ping waits for the message's end like all else.
func TestPingWhileALongMessageIsTaken(t *testing.T) {
	const size = 1 << 20
	var wrote, read chan error
	inTime(t, func(ctx context.Context, c *wssecure.Conn) error {
		go func() {
			_, _, err := c.Read(ctx)
			read <- err
		}()
		wrote <- c.Write(ctx, wssecure.MessageBinary, make([]byte, size))
		<-ctx.Done()
		return nil
	}, func(t *testing.T, s *timed) {
		wrote, read = make(chan error, 1), make(chan error, 1)
		c := s.open(s.issuer.Token("alice"))
		piece := make([]byte, 16<<10)
		for left := size + 10; left > 0; {
			n, err := c.NetConn().Read(piece[:min(len(piece), left)])
			if err != nil {
				t.Fatalf("%d bytes before the end: %v", left, err)
			}
			if left == size+10 {
				send(t, c, probe.Message(probe.Ping, []byte("first")), probe.Message(probe.Ping, []byte("last")))
			}
			left -= n
			time.Sleep(time.Second)
		}
		f, err := c.ReadFrame()
		if err != nil || f.Opcode != probe.Pong || string(f.Payload) != "last" { // that of the latest ping is enough (RFC 6455 section 5.5.3)
			t.Errorf("%+v, %v; want the pong", f, err)
		}
		go io.Copy(io.Discard, c.NetConn()) // the guard's pings
		if err := <-wrote; err != nil {
			t.Errorf("Write: %v", err)
		}
		c.Close()
		if err := <-read; !errors.Is(err, wssecure.ReasonPeer) {
			t.Errorf("Read: %v", err)
		}
	})
}
