package e2e

import (
	"fmt"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/wssecure/wssecure"
)

// Every handshake of a browser has two sides: what the page saw, and what the guard says of it. These hold both.

// event is the next of its kind.
func (s *site) event(t *testing.T, kind wssecure.EventKind) wssecure.Event {
	t.Helper()
	var e wssecure.Event
	select {
	case e = <-s.heard[kind]:
	case <-time.After(patience):
		t.Fatalf("no event %s", kind)
	}
	return e
}

// wantOpen wants that the page saw an open socket, and the event that says so.
func (s *site) wantOpen(t *testing.T, seen []string, want string) wssecure.Event {
	t.Helper()
	if !slices.Equal(seen, []string{want}) {
		t.Fatalf("the page saw %q, want %q", seen, want)
	}
	s.opened++
	return s.event(t, wssecure.EventOpened)
}

// wantRefused wants that the page saw what pages see of a refusal, which is nothing, and that the guard knows why.
func (s *site) wantRefused(t *testing.T, seen []string, reason wssecure.Reason, origin string) wssecure.Event {
	t.Helper()
	if !slices.Equal(seen, []string{"error", "close 1006, not clean"}) {
		t.Fatalf("the page saw %q, want a close without a reason", seen)
	}
	s.refused++
	e := s.event(t, wssecure.EventRefused)
	if e.Reason != reason || e.Status != reason.Status() || e.Origin != origin {
		t.Errorf("the event says %s %d from origin %q, want %s %d from %q", e.Reason, e.Status, e.Origin, reason, reason.Status(), origin)
	}
	return e
}

// wantTold wants that the page was told of a refusal: by a socket that opened, and closed at once.
func (s *site) wantTold(t *testing.T, p *page, dialled []string, want []string, reason wssecure.Reason) {
	t.Helper()
	if !slices.Equal(dialled, want[:1]) {
		t.Fatalf("the page saw %q, want %q", dialled, want)
	}
	if seen := p.ended(); !slices.Equal(seen, want) {
		t.Errorf("the page saw %q, want %q", seen, want)
	}
	s.refused++
	if e := s.event(t, wssecure.EventRefused); e.Reason != reason || e.Status != reason.Status() {
		t.Errorf("the event says %s %d, want %s %d", e.Reason, e.Status, reason, reason.Status())
	}
}

// wantClosed wants the end of the session that the page last opened, as the page saw it and as the guard tells it.
func (s *site) wantClosed(t *testing.T, p *page, want string, reason wssecure.Reason, by wssecure.By) wssecure.Event {
	t.Helper()
	seen := p.ended()
	if last := seen[len(seen)-1]; last != want {
		t.Errorf("the page saw %q, want %q", seen, want)
	}
	e := s.event(t, wssecure.EventClosed)
	if e.Reason != reason || e.By != by {
		t.Errorf("the event says %s by %s, want %s by %s", e.Reason, e.By, reason, by)
	}
	var code int
	if fmt.Sscanf(want, "close %d", &code); int(e.CloseCode) != code {
		t.Errorf("the event says code %d, the page saw %q", e.CloseCode, want)
	}
	return e
}

// wantAllAccounted runs before the server ends, when the browser is gone: no session is left, and there was no event
// beyond those that the tests have looked at.
func (s *site) wantAllAccounted(t *testing.T) {
	t.Helper()
	eventually(t, "sessions are left", func() bool { return s.Guard.Stats().Open == 0 })
	stats := s.Guard.Stats()
	var refused, closed uint64
	for _, n := range stats.Refused {
		refused += n
	}
	for _, n := range stats.Closed {
		closed += n
	}
	if stats.Admitted != s.opened || closed != s.opened || refused != s.refused {
		t.Errorf("%d opened, %d closed, %d refused; the tests know of %d opened and %d refused", stats.Admitted, closed, refused, s.opened, s.refused)
	}
	kinds := map[wssecure.EventKind]uint64{}
	for _, e := range s.Events() {
		kinds[e.Kind]++
	}
	if kinds[wssecure.EventOpened] != s.opened || kinds[wssecure.EventClosed] != s.opened || kinds[wssecure.EventRefused] != s.refused {
		t.Errorf("events %v, want %d opened and closed, %d refused", kinds, s.opened, s.refused)
	}
}

// wantNothingLeft wants at the very end of the test as many goroutines as there are now.
func wantNothingLeft(t *testing.T) {
	t.Helper()
	before := runtime.NumGoroutine()
	t.Cleanup(func() {
		eventually(t, "goroutines are left", func() bool { return runtime.NumGoroutine() <= before })
	})
}

func eventually(t *testing.T, complaint string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !holds(); <-tick.C {
		if time.Now().After(deadline) {
			stacks := make([]byte, 1<<20)
			t.Errorf("%s\n%s", complaint, stacks[:runtime.Stack(stacks, true)])
			return
		}
	}
}
