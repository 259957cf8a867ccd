package testbed_test

import (
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/wssecure/wssecure/cmd/wssecure/internal/testbed"
)

// What is wrong once is looked at again; nobody hears of it but by an attribute.
func TestAFaultThatDoesNotComeBackIsNone(t *testing.T) {
	trials := 0
	testbed.Try(t, func(t *testbed.Trial) {
		if trials++; trials == 1 {
			t.Errorf("late by %d s", 5)
			t.Error("and", "slow")
		}
	})
	if trials != 2 {
		t.Errorf("%d trials", trials)
	}
	trials = 0
	if testbed.Try(t, func(*testbed.Trial) { trials++ }); trials != 1 {
		t.Errorf("%d trials of what is as it should be", trials)
	}
}

// A second trial waits until the scans beside it have ended, and the others wait for it.
func TestASecondTrialIsAlone(t *testing.T) {
	var running atomic.Int32
	scan := func(tb testing.TB, alone bool) {
		done := testbed.Begin(tb)
		defer done()
		if n := running.Add(1); alone && n != 1 {
			t.Errorf("%d at once", n)
		}
		running.Add(-1)
	}
	t.Run("beside", func(t *testing.T) {
		for range 8 {
			t.Run("", func(t *testing.T) {
				t.Parallel()
				trials := 0
				testbed.Try(t, func(t *testbed.Trial) {
					trials++
					for range 100 {
						scan(t, trials == 2)
					}
					if trials == 1 {
						t.Error("once more")
					}
				})
			})
		}
	})
}

// What is there again alone fails the test: this one runs itself, and must see that.
func TestAFaultThatComesBackFails(t *testing.T) {
	const inner = "WSSECURE_TEST_FAULT"
	if os.Getenv(inner) != "" {
		testbed.Try(t, func(t *testbed.Trial) { t.Error("it is there again") })
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestAFaultThatComesBackFails$", "-test.v")
	cmd.Env = append(os.Environ(), inner+"=1")
	out, err := cmd.CombinedOutput()
	if err == nil || strings.Count(string(out), "it is there again") != 4 || !strings.Contains(string(out), "=== ATTR") {
		t.Errorf("%v\n%s", err, out)
	}
}
