package wssecure_test

import (
	"context"
	"testing"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/internal/probe"
)

// TestClosedEventNamesTheLimit is U-08's first limit hit, with the field to
// change; a peer that gives our own close frame back has said nothing.
func TestClosedEventNamesTheLimit(t *testing.T) {
	frame := func(opcode byte, size int) []byte {
		return probe.AppendFrame(nil, probe.Message(opcode, make([]byte, size)))
	}
	limits := wssecure.Limits{MessageSize: 100, Controls: wssecure.PerMinute(1), Fragments: 8, Messages: wssecure.PerMinute(2), CloseOnRate: true}
	for _, row := range []struct {
		name   string
		send   [][]byte
		back   []byte // the peer's close frame
		reason wssecure.Reason
		seen   string
		want   string
	}{
		{"message-size", [][]byte{frame(probe.Binary, 101)}, probe.CloseFrame(1009, "message-size"), wssecure.ReasonMessageSize, "", "Limits.MessageSize 100"},
		{"its peer has a word of its own", [][]byte{frame(probe.Binary, 101)}, probe.CloseFrame(1009, "sorry"), wssecure.ReasonMessageSize, "sorry", "Limits.MessageSize 100"},
		{"control-rate", [][]byte{frame(probe.Ping, 0), frame(probe.Ping, 0)}, nil, wssecure.ReasonControlRate, "", "Limits.Controls 1 per 1m0s, 1 at once"},
		{"message-rate", [][]byte{frame(probe.Binary, 1), frame(probe.Binary, 1), frame(probe.Binary, 1)}, nil, wssecure.ReasonMessageRate, "",
			"Limits.Messages 2 per 1m0s, 2 at once; Limits.Bytes 1048576 per 1s, 4194304 at once"},
		{"protocol", [][]byte{probe.AppendFrame(nil, probe.Frame{FIN: true, Opcode: 3, Masked: true})}, nil, wssecure.ReasonProtocol, "", ""},
		{"the application's own", [][]byte{frame(probe.Text, 1)}, nil, wssecure.ReasonMessageSize, "", ""},
	} {
		t.Run("U-08 "+row.name, func(t *testing.T) {
			serve := func(ctx context.Context, c *wssecure.Conn) error {
				for {
					typ, _, err := c.Read(ctx)
					if err != nil {
						return err
					}
					if typ == wssecure.MessageText {
						return wssecure.ReasonMessageSize
					}
				}
			}
			inTime(t, serve, func(t *testing.T, s *timed) { // a peer has a second for its answer
				c := s.open(s.issuer.Token("alice"))
				for _, b := range row.send {
					if err := c.Send(b); err != nil {
						t.Fatal(err)
					}
				}
				for {
					f, err := c.ReadFrame()
					if err != nil {
						t.Fatal(err)
					}
					if f.Opcode == probe.Close {
						break
					}
				}
				if row.back != nil {
					if err := c.Send(row.back); err != nil {
						t.Fatal(err)
					}
					_, _ = c.ReadFrame() // until the guard has read it and closed
				}
				c.Close()
				e := s.closed(t)
				if e.Reason != row.reason || e.Seen != row.seen || e.Wanted != row.want {
					t.Errorf("%s, seen %q, wanted %q; want %s, %q, %q", e.Reason, e.Seen, e.Wanted, row.reason, row.seen, row.want)
				}
			}, wssecure.LimitSession(limits))
		})
	}
}
