package wssecure_test

import (
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wssecure/wssecure"
)

// TestRenewRotatesIntrospectedToken: the answers about the last token, which its
// server forgets when the next is issued, are not about the session any more.
func TestRenewRotatesIntrospectedToken(t *testing.T) {
	const every = 5 * time.Minute
	exp := func(d time.Duration) members { return members{"exp": time.Now().Add(d).Unix()} }
	open := func(t *testing.T, f func(t *testing.T, s *timed, p *peer, first string), more ...wssecure.Option) {
		t.Helper()
		byIntrospection(t, func(t *testing.T, s *timed) {
			s.pipeServer = newPipeServer(t, s.guard.ConnHandler(renewer))
			first := s.issuer.Opaque("alice", exp(10*time.Hour))
			f(t, s, listen(s.open(first), true), first)
		}, more...)
	}
	t.Run("A-65 the old one inactive later", func(t *testing.T) {
		open(t, func(t *testing.T, s *timed, p *peer, first string) {
			r := &renewal{timed: s, t: t, p: p}
			second := s.issuer.Opaque("alice", exp(20*time.Hour))
			r.want(second, "renewed")
			s.issuer.SetActive(first, nil)
			time.Sleep(10 * every)
			r.wantOpen()
			start := time.Now()
			s.issuer.SetActive(second, nil)
			p.wantEnd(t, start, 3000, "revoked", 0, every)
		})
	})
	for name, active := range map[string]bool{"good": true, "that it is not active": false} {
		t.Run("A-65 an answer about the old one under way: "+name, func(t *testing.T) {
			slow := &slowly{}
			byIntrospectionThrough(t, slow, func(t *testing.T, s *timed) {
				slow.asked = make(chan struct{}) // of the bubble
				s.pipeServer = newPipeServer(t, s.guard.ConnHandler(renewer))
				first, second := s.issuer.Opaque("alice", exp(10*time.Hour)), s.issuer.Opaque("alice", exp(20*time.Hour))
				r := &renewal{timed: s, t: t, p: listen(s.open(first), true)}
				slow.next.Store(true)
				<-slow.asked
				if !active {
					s.issuer.SetActive(first, nil)
				}
				r.want(second, "renewed")
				time.Sleep(5 * time.Second) // the answer is there
				r.wantOpen()
				for info := range s.guard.Sessions() {
					if left := time.Until(info.Expiry); left < 15*time.Hour {
						t.Errorf("the old answer came back: %v left", left)
					}
				}
			})
		})
	}
	t.Run("S-20 it stays in its group of SetRecheck", func(t *testing.T) {
		a := &asking{}
		renewing(t, nil, func(r *renewal) {
			for i := range 5 {
				r.want(r.token(time.Duration(i+2)*time.Hour), "renewed")
				time.Sleep(recheckEvery)
			}
			synctest.Wait()
			if n := len(a.times()); n < 4 || n > 6 {
				t.Errorf("asked %d times in five intervals", n)
			}
			a.say(refusing(wssecure.ReasonForbidden))
			start := time.Now()
			r.p.wantEnd(t, start, 3003, "forbidden", 0, recheckEvery)
		}, wssecure.SetRecheck(recheckEvery, a.ask))
	})
}

// slowly holds up the next request, once it is told to, for three seconds.
type slowly struct {
	http.RoundTripper
	next  atomic.Bool
	asked chan struct{}
}

func (s *slowly) RoundTrip(r *http.Request) (*http.Response, error) {
	if s.next.Swap(false) {
		close(s.asked)
		time.Sleep(3 * time.Second)
	}
	return s.RoundTripper.RoundTrip(r)
}
