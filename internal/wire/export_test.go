package wire

import "time"

// StepClock is a wall clock that is set forward, as by NTP, or that has gone on
// while the machine slept and no timer ran.
func (c *Conn) StepClock(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.expiry -= d.Microseconds()
}
