package testbed

import (
	"fmt"
	"strings"
	"sync"
	"testing"
)

// A Trial is a test of a scan that may be made again. It is used as the test is; its errors are the trial's.
type Trial struct {
	*testing.T

	alone  bool
	mu     sync.Mutex
	over   bool
	faults []string
}

// machine is held for reading by each scan, and for writing by one that is made alone.
var machine sync.RWMutex

// trialsAlone is how often a scan is made alone: the tests of other packages may run beside it.
const trialsAlone = 3

// Try tests a scan. A report that is not as it should be may be the machine's fault: with all tests at once a server answers
// late, and one without limits takes its time as if it had some. So it is scanned again, while no other scan of the package
// runs. What is no matter of pace is there each time.
func Try(t *testing.T, test func(t *Trial)) {
	t.Helper()
	first := &Trial{T: t}
	test(first)
	faults := first.end()
	if len(faults) == 0 {
		return
	}
	machine.Lock()
	defer machine.Unlock()
	for range trialsAlone {
		t.Attr("again", strings.Join(strings.Fields(strings.Join(faults, "; ")), " "))
		next := &Trial{T: t, alone: true}
		test(next)
		if faults = next.end(); len(faults) == 0 {
			return
		}
	}
	for _, fault := range faults {
		t.Error(fault)
	}
}

// Begin waits while another scan is made alone. It is for each run of the scanner, which ends with done.
func Begin(tb testing.TB) (done func()) {
	if t, ok := tb.(*Trial); ok && t.alone {
		return func() {}
	}
	machine.RLock()
	return machine.RUnlock
}

// Error is an error of the trial.
func (t *Trial) Error(args ...any) { t.fault(fmt.Sprint(args...)) }

// Errorf is an error of the trial.
func (t *Trial) Errorf(format string, args ...any) { t.fault(fmt.Sprintf(format, args...)) }

func (t *Trial) fault(text string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.over { // a server that goes on until the test ends
		t.T.Error(text)
		return
	}
	t.faults = append(t.faults, text)
}

// end is what has gone wrong.
func (t *Trial) end() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.over = true
	return t.faults
}
