package wire_test

import (
	"net"
	"testing"
	"time"

	"github.com/wssecure/wssecure/internal/wire"
)

// Timers stand still while the machine sleeps, and know nothing of a wall clock
// that is set forward: whatever the limits, the expiry is looked at all the same.
func TestExpiryAfterTheWallClockSteps(t *testing.T) {
	slow := open()
	slow.Ping, slow.Pong, slow.Write, slow.MessageTime = time.Hour, time.Hour, time.Hour, time.Hour
	for _, row := range []struct {
		name   string
		limits wire.Limits
	}{
		{"S-01 default", open()},
		{"S-01 limits of an hour", slow},
	} {
		t.Run(row.name, func(t *testing.T) {
			for _, after := range []time.Duration{0, time.Second, 40 * time.Second, 10 * time.Minute} {
				bubble(t, row.limits, func(t *testing.T, s *session, peer net.Conn) {
					go func() {
						for a := range arrivals(peer) {
							if a.first == fin|opPing {
								peer.Write(masked(fin|opPong, a.payload))
							}
						}
					}()
					end := library(s)
					s.conn.SetExpiry(time.Now().Add(8 * time.Hour))
					time.Sleep(after)
					s.conn.StepClock(7 * time.Hour)
					time.Sleep(30 * time.Second)
					if v := s.violation(); v != 0 {
						t.Fatalf("ended by %d before its time", v)
					}
					s.conn.StepClock(time.Hour)
					endsAfter(t, s, end, wire.Expired, 0, 30*time.Second)
				})
			}
		})
	}
}
