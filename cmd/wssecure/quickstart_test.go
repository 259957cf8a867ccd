package main_test

import (
	"slices"
	"testing"
	"time"

	"github.com/wssecure/wssecure/cmd/wssecure/internal/testbed"
	"github.com/wssecure/wssecure/internal/program"
)

// What users see first must not be found wanting by what they run next.
func TestQuickstartGetsTheBestGrade(t *testing.T) {
	scan := func(t *testbed.Trial, limit time.Duration, flags ...string) {
		q, err := program.StartQuickstart(t.Context(), t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		defer q.Stop()
		o, d := scanJSON(t, q.Token, append(slices.Concat(testbed.Unhurried, flags), "--ca", q.Authority, "--subprotocol", "chat", "wss://"+q.Address+"/ws")...)
		if got := d.Targets[0]; o.code != 0 || got.Grade != "A+" {
			t.Errorf("exit %d, grade %q because %q, %v, %s", o.code, got.Grade, got.Because, got.Findings, got.Error)
		}
		if o.took > limit {
			t.Errorf("took %v", o.took)
		}
		t.Logf("%v: %v", o.took.Round(time.Millisecond), d.Targets[0].Counts)
	}
	t.Run("passive", func(t *testing.T) {
		testbed.Try(t, func(t *testbed.Trial) { scan(t, time.Minute) })
	})
	t.Parallel() // only now: the time of the passive one says most where no other test runs
	t.Run("active", func(t *testing.T) {
		testbed.Try(t, func(t *testbed.Trial) { scan(t, 4*time.Minute, "--active") })
	})
}
