package token

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// A NoticeKind is what a Notice reports.
type NoticeKind uint8

const (
	// Refreshed: a fetch gave a usable key set.
	Refreshed NoticeKind = iota
	// Failed: a fetch failed; the keys known before, if any, stay.
	Failed
)

// A Notice reports one fetch of a key set.
type Notice struct {
	Kind NoticeKind
	URL  string // of the key set; of the issuer's metadata where that tells
	Keys int    // usable keys now held
	Err  error
}

const (
	refreshEvery = 15 * time.Minute
	refreshLeast = time.Minute // bounds on what the server's max-age may ask
	refreshMost  = time.Hour
	retryFirst   = time.Second
	retryMost    = time.Minute
	staleAfter   = 24 * time.Hour   // keys older than this may be long revoked
	unknownEvery = 30 * time.Second // between two fetches that strangers' kids cause
	waitTime     = 5 * time.Second
)

// A remote keeps the key set of a place. One goroutine, started at the first use, does all fetching; verification reads
// one atomic pointer and waits only when it has no keys at all, or for the one unknown kid being asked for.
type remote struct {
	at     locator
	fetch  *fetcher
	parse  func([]byte) (*keySet, error)
	notify func(Notice)

	ctx   context.Context // ends with Close
	stop  context.CancelFunc
	begin sync.Once
	first chan struct{} // closed after the first fetch, however it went
	held  atomic.Pointer[held]

	unknown *rate.Limiter
	wake    chan struct{}
	mu      sync.Mutex
	wanted  *wanted // the unknown kid to be fetched for
	err     error   // of the last fetch
}

// held is a key set and the moment it has gone stale.
type held struct {
	keys  *keySet
	until time.Time
}

// wanted is a kid whose tokens wait for a fetch.
type wanted struct {
	kid  string
	done chan struct{}
}

func newRemote(at locator, f *fetcher, parse func([]byte) (*keySet, error), notify func(Notice)) *remote {
	r := &remote{
		at:      at,
		fetch:   f,
		parse:   parse,
		notify:  notify,
		first:   make(chan struct{}),
		unknown: rate.NewLimiter(rate.Every(unknownEvery), 1),
		wake:    make(chan struct{}, 1),
		err:     errors.New("keys not loaded yet"),
	}
	r.ctx, r.stop = context.WithCancel(context.Background())
	return r
}

// current returns the keys to judge by at now, or nil. It never waits.
func (r *remote) current(now time.Time) *keySet {
	h := r.held.Load()
	if h == nil || !now.Before(h.until) {
		return nil
	}
	return h.keys
}

// load returns the keys, waiting for the first fetch only: later ones may fail for hours, and to wait for them would
// pin a goroutine for each handshake.
func (r *remote) load(ctx context.Context) (*keySet, *Error) {
	r.start()
	if keys := r.current(time.Now()); keys != nil {
		return keys, nil
	}
	if err := r.wait(ctx, r.first); err != nil {
		return nil, refuse(Unavailable, "waiting for the keys of "+r.at.place()+": ", err)
	}
	if keys := r.current(time.Now()); keys != nil {
		return keys, nil
	}
	return nil, refuse(Unavailable, "no keys from "+r.at.place()+": ", r.lastErr())
}

// ready returns nil while there are keys, and sees to it that there will be.
func (r *remote) ready() error {
	r.start()
	if r.current(time.Now()) != nil {
		return nil
	}
	return &detail{"no keys from " + r.at.place() + ": ", r.lastErr()}
}

func (r *remote) lastErr() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

var errWaited = errors.New("no answer in time")

// wait returns nil when done is closed.
func (r *remote) wait(ctx context.Context, done <-chan struct{}) error {
	t := time.NewTimer(waitTime)
	defer t.Stop()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-r.ctx.Done():
		return errors.New("closed")
	case <-t.C:
		return errWaited
	}
}

// fetchable reports, without a promise, whether a fetch may be had for kid.
func (r *remote) fetchable(kid string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	// The fetch that brought it may have ended since the caller looked.
	if keys := r.current(time.Now()); keys != nil && keys.byID[kid] != nil {
		return true
	}
	if r.wanted != nil {
		return r.wanted.kid == kid
	}
	return r.unknown.Tokens() >= 1
}

// await returns the keys after one fetch for the sake of kid, or nil when none is due: a thousand made-up kids must
// cost the issuer one request, and those who bring good ones no time.
func (r *remote) await(ctx context.Context, kid string) (*keySet, error) {
	w, keys := r.want(kid)
	if w == nil {
		return keys, nil
	}
	if err := r.wait(ctx, w.done); err != nil && err != errWaited {
		return nil, err
	}
	return r.current(time.Now()), nil
}

// want joins or begins the wait for kid. Without one it returns the keys that have kid by now, or nil.
func (r *remote) want(kid string) (*wanted, *keySet) {
	r.mu.Lock()
	defer r.mu.Unlock()
	// A fetch may have ended since the caller looked; settle holds the lock, so it is seen here.
	if keys := r.current(time.Now()); keys != nil && keys.byID[kid] != nil {
		return nil, keys
	}
	if r.wanted != nil {
		if r.wanted.kid == kid {
			return r.wanted, nil
		}
		return nil, nil
	}
	if !r.unknown.Allow() {
		return nil, nil
	}
	r.wanted = &wanted{kid: kid, done: make(chan struct{})}
	select {
	case r.wake <- struct{}{}:
	default:
	}
	return r.wanted, nil
}

func (r *remote) close() { r.stop() }

func (r *remote) start() { r.begin.Do(func() { go r.run() }) }

// run fetches at once, then on schedule, after failures, and for unknown kids, until Close.
func (r *remote) run() {
	failures := 0
	for {
		fresh, err := r.refresh()
		if r.ctx.Err() != nil {
			return
		}
		pause := refreshPause(fresh)
		if err != nil {
			pause = retryPause(failures)
			failures++
		} else {
			failures = 0
		}
		if !r.sleep(pause) {
			return
		}
	}
}

// sleep returns when d is over or somebody waits for a kid, and false at Close.
func (r *remote) sleep(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			return true
		case <-r.ctx.Done():
			return false
		case <-r.wake:
			r.mu.Lock()
			waits := r.wanted != nil
			r.mu.Unlock()
			if waits {
				return true
			}
		}
	}
}

// refresh fetches once, publishes what came and tells who waits.
func (r *remote) refresh() (fresh time.Duration, err error) {
	r.mu.Lock()
	w := r.wanted
	r.mu.Unlock()
	keys, fresh, err := r.get()
	if r.ctx.Err() != nil {
		return 0, err
	}
	retire := func() {}
	if err == nil {
		var old *keySet
		if h := r.held.Load(); h != nil {
			old = h.keys
		}
		keys, retire = keys.inherit(old)
		r.held.Store(&held{keys: keys, until: time.Now().Add(staleAfter)})
	}
	retire()
	r.settle(w, err)
	r.report(err)
	return fresh, err
}

// get finds out where the keys are and fetches them.
func (r *remote) get() (*keySet, time.Duration, error) {
	url, err := r.at.locate(r.ctx)
	if err != nil {
		return nil, 0, err
	}
	body, fresh, err := r.fetch.get(r.ctx, url)
	if err != nil {
		return nil, 0, err
	}
	keys, err := r.parse(body)
	return keys, fresh, err
}

// settle ends the wait for w, which was known before the fetch began, and for any kid that has come with it.
func (r *remote) settle(w *wanted, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err = err
	select {
	case <-r.first:
	default:
		close(r.first)
	}
	if r.wanted == nil {
		return
	}
	keys := r.current(time.Now())
	if r.wanted == w || keys != nil && keys.byID[r.wanted.kid] != nil {
		close(r.wanted.done)
		r.wanted = nil
	}
}

func (r *remote) report(err error) {
	if r.notify == nil {
		return
	}
	n := Notice{Kind: Refreshed, URL: r.at.place(), Err: err}
	if err != nil {
		n.Kind = Failed
	}
	if keys := r.current(time.Now()); keys != nil {
		n.Keys = len(keys.keys)
	}
	r.notify(n)
}

// refreshPause spreads the fetches of many nodes started together; what the server asks for counts within bounds.
func refreshPause(asked time.Duration) time.Duration {
	if asked == 0 {
		return jitter(refreshEvery, 0.10)
	}
	d := jitter(min(max(asked, refreshLeast), refreshMost), 0.10)
	// Mirrored at the bounds, not cut: cut, half of all nodes would come at the same moment.
	if d > refreshMost {
		return 2*refreshMost - d
	}
	if d < refreshLeast {
		return 2*refreshLeast - d
	}
	return d
}

// retryPause doubles from failure to failure.
func retryPause(failures int) time.Duration {
	return jitter(min(retryFirst<<min(failures, 6), retryMost), 0.20)
}

// jitter returns d give or take part of it.
func jitter(d time.Duration, part float64) time.Duration {
	return d + time.Duration((rand.Float64()*2-1)*part*float64(d))
}
