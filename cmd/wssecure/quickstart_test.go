package main_test

import (
	"testing"
	"time"

	"github.com/wssecure/wssecure/internal/program"
)

// What users see first must not be found wanting by what they run next.
func TestQuickstartGetsTheBestGrade(t *testing.T) {
	q, err := program.StartQuickstart(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(q.Stop)
	scan := func(t *testing.T, limit time.Duration, flags ...string) {
		o, d := scanJSON(t, q.Token, append(flags, "--ca", q.Authority, "--subprotocol", "chat", "wss://"+q.Address+"/ws")...)
		if got := d.Targets[0]; o.code != 0 || got.Grade != "A+" {
			t.Errorf("exit %d, grade %q because %q, %v, %s", o.code, got.Grade, got.Because, got.Findings, got.Error)
		}
		if o.took > limit {
			t.Errorf("took %v", o.took)
		}
		t.Logf("%v: %v", o.took.Round(time.Millisecond), d.Targets[0].Counts)
	}
	t.Run("passive", func(t *testing.T) { scan(t, 10*time.Second) })
	t.Parallel() // only now: the time of the passive one says something of an idle machine alone
	t.Run("active", func(t *testing.T) { scan(t, time.Minute, "--active") })
}
