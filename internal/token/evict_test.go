package token

import (
	"testing"
	"time"
)

// A full table forgets what it would have forgotten soonest anyway, not the
// refusal that has just come.
func TestFullTableForgetsTheEarliest(t *testing.T) {
	base := time.Unix(1_800_000_000, 0)
	for early := range 3 {
		m := map[forgedID]time.Time{}
		for i := range 3 {
			m[forgedID{uint64(i), 0}] = base.Add(time.Duration(i+1) * time.Minute)
		}
		m[forgedID{uint64(early), 0}] = base
		if got := earliest(m, func(at time.Time) time.Time { return at }); got != (forgedID{uint64(early), 0}) {
			t.Errorf("forgets %v, want %d", got, early)
		}
	}
}
