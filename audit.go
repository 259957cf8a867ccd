package wssecure

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wssecure/wssecure/internal/quote"
	"golang.org/x/time/rate"
)

// audit carries events from where they happen to the counters, the log and the
// hooks. Nothing in it waits: a handshake is never slowed by who listens.
type audit struct {
	logger *slog.Logger // nil: slog's default, asked each time, as it may change
	sample sampler

	mu      sync.Mutex
	queue   []delivery
	running bool
	lost    int64

	counts  counters
	panics  *rate.Limiter
	dropped atomic.Uint64
	sampled atomic.Uint64
}

// delivery is an event on its way to the hooks of one policy.
type delivery struct {
	event Event
	hooks []func(Event)
}

const (
	mostQueued  = 8192
	linesASec   = 200
	firstLines  = 5
	everyNth    = 100
	sampleCells = 4096
)

// counters are the exact numbers behind Stats.
type counters struct {
	admitted, messages       atomic.Uint64
	refused, closed, accepts byReason // accepts: connections closed before TLS
}

// byReason counts at the places of rulings.
type byReason []atomic.Uint64

func (c byReason) add(r *ruling) { c[r.place].Add(1) }

func (c byReason) nonZero() map[Reason]uint64 {
	out := map[Reason]uint64{}
	for r, ruling := range rulings {
		if n := c[ruling.place].Load(); n > 0 {
			out[r] = n
		}
	}
	return out
}

func newAudit(logger *slog.Logger) *audit {
	a := &audit{logger: logger}
	a.sample.init()
	a.panics = rate.NewLimiter(rate.Every(time.Minute), 1) // the zero one would swallow the first
	for _, counts := range []*byReason{&a.counts.refused, &a.counts.closed, &a.counts.accepts} {
		*counts = make(byReason, len(rulings))
	}
	return a
}

func (a *audit) log() *slog.Logger {
	if a.logger != nil {
		return a.logger
	}
	return slog.Default()
}

// count adds one decision to the exact counters.
func (a *audit) count(kind EventKind, r Reason) {
	switch kind {
	case EventOpened:
		a.counts.admitted.Add(1)
	case EventMessageRefused:
		a.counts.messages.Add(1)
	case EventClosed:
		a.counts.closed.add(r.ruling())
	case EventRefused:
		a.counts.refused.add(r.ruling())
	}
}

func (a *audit) stats(s *Stats) {
	s.Admitted = a.counts.admitted.Load()
	s.MessagesRefused = a.counts.messages.Load()
	s.EventsDropped = a.dropped.Load()
	s.EventsSampled = a.sampled.Load()
	s.Refused, s.Closed = a.counts.refused.nonZero(), a.counts.closed.nonZero()
	s.AcceptsRefused = a.counts.accepts.nonZero()
}

// wanted reports whether anybody would see an event of this level, so that a
// refusal in a flood need not be put into words.
func (a *audit) wanted(level slog.Level, hooks []func(Event)) bool {
	return len(hooks) > 0 || a.enabled(level)
}

// enabled and line are the only ways to the logger. A handler of the application
// that panics must not take a session's timer, and with it the process, along.
func (a *audit) enabled(level slog.Level) bool {
	defer func() { _ = recover() }()
	return a.log().Enabled(context.Background(), level)
}

func (a *audit) line(level slog.Level, text string, attrs ...slog.Attr) {
	defer func() { _ = recover() }()
	a.log().LogAttrs(context.Background(), level, text, attrs...)
}

// emit hands one event to the log and the hooks. It has been counted already.
func (a *audit) emit(e Event, hooks []func(Event)) {
	if len(hooks) > 0 {
		a.deliver(e, hooks)
	}
	a.write(&e)
}

func (a *audit) write(e *Event) {
	level := e.level()
	if !a.enabled(level) {
		return
	}
	if e.Kind == EventRefused {
		ok, suppressed := a.sample.allow(e.Reason, e.ClientIP)
		if !ok {
			a.sampled.Add(1)
			return
		}
		e.Count = suppressed
	}
	var room [32]slog.Attr
	a.line(level, message(e.Kind), e.attrs(room[:0])...)
}

// message is the constant text of a kind's log line.
func message(k EventKind) string { return "wssecure: " + string(k) }

// deliver queues the event; a goroutine runs while the queue holds something.
func (a *audit) deliver(e Event, hooks []func(Event)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.queue) >= mostQueued {
		a.lost++
		a.dropped.Add(1)
		return
	}
	a.queue = append(a.queue, delivery{e, hooks})
	if !a.running {
		a.running = true
		go a.drain()
	}
}

func (a *audit) drain() {
	for {
		a.mu.Lock()
		batch, lost := a.queue, a.lost
		a.queue, a.lost = nil, 0
		if len(batch) == 0 && lost == 0 {
			a.running = false
			a.mu.Unlock()
			return
		}
		a.mu.Unlock()
		for i := range batch {
			a.call(&batch[i])
		}
		if lost > 0 {
			a.reportLost(lost, batch)
		}
	}
}

func (a *audit) reportLost(lost int64, batch []delivery) {
	e := Event{Kind: EventAuditDropped, Time: time.Now().UTC(), Count: lost}
	a.write(&e)
	if len(batch) > 0 {
		a.call(&delivery{e, batch[len(batch)-1].hooks})
	}
}

func (a *audit) call(d *delivery) {
	for _, hook := range d.hooks {
		a.callHook(hook, d.event)
	}
}

// callHook survives a hook that panics, and says so once a minute.
func (a *audit) callHook(hook func(Event), e Event) {
	defer func() {
		if p := recover(); p != nil && a.panics.Allow() {
			a.line(alarm, "wssecure: OnEvent panicked", panicAttr(p))
		}
	}()
	hook(e)
}

// panicAttr is the value of a panic, which may be what a peer sent.
func panicAttr(p any) slog.Attr {
	return slog.String("panic", quote.Cut(fmt.Sprint(p), quote.Value))
}
