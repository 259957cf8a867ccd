// Package certs serves a TLS certificate from two files and follows them when they are replaced.
//
// Whoever renews the certificate only writes the files. Handshakes never wait for the disk and never fail because of a
// replacement: the pair in service stays until a new one has been read whole, checked and found to fit.
package certs

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// Kind says what a Notice is about.
type Kind int

const (
	Reloaded     Kind = iota + 1 // a new pair is in service
	ReloadFailed                 // the files hold something unfit; the old pair serves on
	Expiring                     // the leaf in service ends in 30, 14 or 3 days
)

// Notice is what an operator should hear of a Source.
type Notice struct {
	Kind     Kind
	CertFile string
	NotAfter time.Time // of the leaf in service
	Days     int       // until then, begun days counted whole
	Err      error     // of ReloadFailed
}

// Source is a certificate and key that follow their files. It needs no goroutine of its own: once a minute at most a
// handshake starts a look at the files beside it, and goes on with the pair it has.
//
// After a change the next looks come after 1, 2, 4 seconds and so on up to the minute, whether the change was good or
// not: a pair of which only one file has been written yet, or a chain that is still growing, heals at once.
//
// A server without handshakes looks at nothing. The first handshake after a long silence gets the old pair, unless that
// has expired: then it waits for the look.
type Source struct {
	certFile, keyFile string
	start             time.Time
	due               atomic.Int64 // when to look again, in nanoseconds since start; never while a look is under way
	pair              atomic.Pointer[pair]
	notify            atomic.Pointer[func(Notice)]

	mu    sync.Mutex // of what follows, held during a look
	pause time.Duration
	last  sighting              // what the last look saw
	told  map[sighting]struct{} // failures already told since the last good look
	level int                   // lowest of expiryDays told for the pair in service
}

const (
	shortestPause = time.Second
	longestPause  = time.Minute
	never         = math.MaxInt64
	// failuresKept bounds the memory of a file that is broken in a new way at every look.
	failuresKept = 16
)

// expiryDays are the days before a leaf's end at which an operator is told.
var expiryDays = [...]int{30, 14, 3}

// pair is one certificate with what is asked of it often.
type pair struct {
	cert     tls.Certificate
	notAfter time.Time
	sum      [sha256.Size]byte
}

// sighting is what one look at the files saw; two that are equal are the same state of the same files.
type sighting struct {
	sum [sha256.Size]byte
	err string
}

// Load reads and checks the pair. The error's text names the file, what is wrong with it and what to do.
func Load(certFile, keyFile string) (*Source, error) {
	now := time.Now()
	s := &Source{certFile: certFile, keyFile: keyFile, start: now, pause: longestPause, level: math.MaxInt}
	p, seen, err := read(certFile, keyFile, now)
	if err != nil {
		return nil, err
	}
	s.pair.Store(p)
	s.last = seen
	s.due.Store(int64(longestPause))
	return s, nil
}

// Notify has f called for what happens from now on, and at once if the leaf in service ends soon. f is called from
// handshakes' helpers and from Check, must be safe for concurrent use and should not block. The last call wins.
func (s *Source) Notify(f func(Notice)) {
	s.notify.Store(&f)
	s.mu.Lock()
	notices := s.expiring(nil, time.Now())
	s.mu.Unlock()
	s.tell(notices)
}

// Certificate is for tls.Config.GetCertificate. It gives the pair in service, whatever name the client asked for, and
// never an error.
func (s *Source) Certificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	now := time.Now()
	due := s.due.Load()
	if int64(now.Sub(s.start)) < due || !s.due.CompareAndSwap(due, never) {
		return &s.pair.Load().cert, nil
	}
	if now.After(s.pair.Load().notAfter) {
		s.Check(now) // an expired certificate is of no use to this client; the files may have a better one
	} else {
		go s.Check(now)
	}
	return &s.pair.Load().cert, nil
}

// NotAfter is the end of the leaf in service.
func (s *Source) NotAfter() time.Time { return s.pair.Load().notAfter }

// Leaf is the certificate in service. It must not be changed.
func (s *Source) Leaf() *x509.Certificate { return s.pair.Load().cert.Leaf }

// Check looks at the files now and waits for the result, whenever the next look is due. now is what expiry is judged by.
func (s *Source) Check(now time.Time) {
	s.mu.Lock()
	notices := s.look(now)
	s.mu.Unlock()
	s.tell(notices)
}

// look compares the files with the pair in service. Their content decides, not their dates: Kubernetes swaps a symlink two
// directories up, and copies may carry the dates of their originals.
func (s *Source) look(now time.Time) []Notice {
	var notices []Notice
	p, seen, err := read(s.certFile, s.keyFile, now)
	s.pause = min(2*s.pause, longestPause)
	if seen != s.last {
		s.pause = shortestPause
	}
	s.last = seen
	// Measured on the clock, not from now: the disk may have taken longer than the pause.
	defer func() { s.due.Store(int64(time.Since(s.start) + s.pause)) }()

	if err != nil {
		if _, known := s.told[seen]; !known {
			if len(s.told) == failuresKept {
				clear(s.told)
			}
			if s.told == nil {
				s.told = make(map[sighting]struct{})
			}
			s.told[seen] = struct{}{}
			notices = append(notices, s.notice(ReloadFailed, now, err))
		}
		return s.expiring(notices, now)
	}
	s.told = nil
	if p.sum != s.pair.Load().sum {
		s.pair.Store(p)
		s.level = math.MaxInt
		notices = append(notices, s.notice(Reloaded, now, nil))
	}
	return s.expiring(notices, now)
}

// expiring adds the notice of the lowest of expiryDays that has been reached and not been told.
func (s *Source) expiring(to []Notice, now time.Time) []Notice {
	left := s.pair.Load().notAfter.Sub(now)
	reached := math.MaxInt
	for _, days := range expiryDays {
		if left <= time.Duration(days)*24*time.Hour {
			reached = days
		}
	}
	if reached >= s.level || s.notify.Load() == nil {
		return to
	}
	s.level = reached
	return append(to, s.notice(Expiring, now, nil))
}

func (s *Source) notice(k Kind, now time.Time, err error) Notice {
	end := s.pair.Load().notAfter
	days := math.Ceil(end.Sub(now).Hours() / 24)
	return Notice{Kind: k, CertFile: s.certFile, NotAfter: end, Days: int(days), Err: err}
}

// tell runs outside the lock, so that f may ask the Source anything.
func (s *Source) tell(notices []Notice) {
	f := s.notify.Load()
	if f == nil {
		return
	}
	for _, n := range notices {
		(*f)(n)
	}
}
