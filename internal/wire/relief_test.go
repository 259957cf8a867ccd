package wire_test

import (
	"bytes"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wssecure/wssecure/internal/wire"
)

// L-37: new limits hold from the next frame on, also for the one that the old ones
// hold back.
func TestNewLimitsMoveThePause(t *testing.T) {
	hourly, minutely, daily := wire.Rate{N: 1, Per: time.Hour, Burst: 1}, wire.Rate{N: 1, Per: time.Minute, Burst: 1}, wire.Rate{N: 1, Per: 24 * time.Hour, Burst: 1}
	message := masked(fin|opText, []byte("0123456789"))
	messages := func(l *wire.Limits) *wire.Rate { return &l.Messages }
	bytesOf := func(l *wire.Limits) *wire.Rate { return &l.Bytes }
	for name, row := range map[string]struct {
		of       func(*wire.Limits) *wire.Rate
		messages int // of which the last is held back
		old, now wire.Rate
		wait     time.Duration // from the change on
	}{
		"L-37 W-15 messages, more":    {messages, 2, hourly, open().Messages, 0},
		"L-37 W-15 messages, some":    {messages, 2, hourly, minutely, 50 * time.Second},
		"L-37 W-15 messages, fewer":   {messages, 2, hourly, daily, 20 * time.Hour},
		"L-37 W-15 messages, as ever": {messages, 2, hourly, hourly, 50 * time.Minute},
		"L-37 W-15 bytes, more":       {bytesOf, 3, wire.Rate{N: 1, Per: time.Minute, Burst: 16}, open().Bytes, 0},
		"L-37 W-15 bytes, some":       {bytesOf, 3, wire.Rate{N: 1, Per: time.Minute, Burst: 16}, wire.Rate{N: 1, Per: time.Second, Burst: 16}, 6 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			l := open()
			l.Ping, *row.of(&l) = 0, row.old
			bubble(t, l, func(t *testing.T, s *session, peer net.Conn) {
				go flood(peer, bytes.Repeat(message, 3)[:row.messages*len(message)])
				got := make(chan time.Time, 2)
				go func() {
					for range row.messages {
						if _, err := deliveries(s, len(message), 1); err != nil {
							return
						}
						got <- time.Now()
					}
				}()
				time.Sleep(10 * time.Minute)
				synctest.Wait()
				changed, next := time.Now(), open()
				next.Ping, *row.of(&next) = 0, row.now
				s.conn.SetLimits(&next)
				var last time.Time
				for range row.messages {
					last = <-got
				}
				if took := last.Sub(changed); took.Round(time.Millisecond) != row.wait {
					t.Errorf("the message came %v behind the change, want %v", took, row.wait)
				}
			})
		})
	}
}
