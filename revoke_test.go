package wssecure_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wssecure/wssecure"
)

// crew is three sessions at work: alice twice, with two tokens and logins, and
// bob.
func crew(t *testing.T, s *timed) map[string]*peer {
	t.Helper()
	peers := map[string]*peer{}
	for name, claims := range map[string]map[string]any{
		"alice1": {"sub": "alice", "jti": "t1", "sid": "login1"},
		"alice2": {"sub": "alice", "jti": "t2", "sid": "login2", "iat": time.Now().Add(-10 * time.Second).Unix()},
		"bob":    {"sub": "bob", "jti": "t3", "sid": "login3"},
	} {
		peers[name] = listen(s.open(s.issuer.Sign("ES256", s.issuer.Claims("", claims))), true)
	}
	synctest.Wait() // a session shows when its 101 has gone out
	return peers
}

// idOf is the id of the one session of a subject.
func idOf(s *timed, subject string) string {
	for info := range s.guard.Sessions() {
		if info.Subject == subject {
			return info.ID
		}
	}
	return ""
}

func TestRevokeEachTarget(t *testing.T) {
	iss := func(s *timed) string { return s.issuer.URL }
	all := []string{"alice1", "alice2", "bob"}
	for _, row := range []struct {
		name   string
		target func(s *timed) wssecure.Target
		ends   []string
	}{
		{"S-06 Subject", func(s *timed) wssecure.Target { return wssecure.Subject(iss(s), "alice") }, all[:2]},
		{"S-06 TokenID", func(s *timed) wssecure.Target { return wssecure.TokenID(iss(s), "t1") }, all[:1]},
		{"S-06 OIDCSession", func(s *timed) wssecure.Target { return wssecure.OIDCSession(iss(s), "login3") }, all[2:]},
		{"S-06 Network", func(*timed) wssecure.Target { return wssecure.Network(netip.MustParsePrefix("198.51.100.0/24")) }, all},
		{"S-06 Everyone", func(*timed) wssecure.Target { return wssecure.Everyone() }, all},
		{"S-06 SessionID", func(s *timed) wssecure.Target { return wssecure.SessionID(idOf(s, "bob")) }, all[2:]},
		{"S-06 SessionID in capitals", func(s *timed) wssecure.Target { return wssecure.SessionID(strings.ToUpper(idOf(s, "bob"))) }, nil},
		{"S-06 SessionID and more", func(s *timed) wssecure.Target { return wssecure.SessionID(idOf(s, "bob") + "00") }, nil},
		{"S-06 SessionID that is none", func(*timed) wssecure.Target { return wssecure.SessionID(strings.Repeat("z", 32)) }, nil},
		{"S-06 another issuer", func(*timed) wssecure.Target { return wssecure.Subject("https://other.example", "alice") }, nil},
		{"S-06 another network", func(*timed) wssecure.Target { return wssecure.Network(netip.MustParsePrefix("203.0.113.0/24")) }, nil},
		{"S-38 IssuedBefore", func(s *timed) wssecure.Target {
			return wssecure.Everyone().IssuedBefore(time.Now().Add(-10*time.Second + 900*time.Millisecond))
		}, all[1:2]},
		{"S-38 in its second", func(s *timed) wssecure.Target { return wssecure.Everyone().IssuedBefore(time.Now()) }, all},
	} {
		t.Run(row.name, func(t *testing.T) {
			inTime(t, echo, func(t *testing.T, s *timed) {
				peers := crew(t, s)
				start, target := time.Now(), row.target(s)
				n, err := s.guard.Revoke(context.Background(), target, "test")
				if n != len(row.ends) || err != nil {
					t.Errorf("Revoke ended %d, %v; want %d", n, err, len(row.ends))
				}
				left := slices.Collect(s.guard.Sessions())
				if len(left) != 3-n {
					t.Errorf("%d sessions are left", len(left))
				}
				for _, name := range row.ends {
					peers[name].wantEnd(t, start, 3000, "revoked", 0, time.Second)
					delete(peers, name)
				}
				time.Sleep(10 * time.Second)
				for _, name := range slices.Sorted(maps.Keys(peers)) {
					send(t, peers[name].Conn, text("lives"))
					synctest.Wait()
					if got := peers[name].texts; len(got) != 1 {
						t.Errorf("%s does not live: %q", name, got)
					}
				}
				if again, err := s.guard.Revoke(context.Background(), target, "again"); again != 0 || err != nil {
					t.Errorf("S-18: again ended %d, %v", again, err)
				}
			})
		})
	}
}

func TestRevokedTokensAreRefused(t *testing.T) {
	inTime(t, echo, func(t *testing.T, s *timed) {
		old := s.issuer.Token("alice")
		if n, err := s.guard.Revoke(context.Background(), wssecure.Subject(s.issuer.URL, "alice"), "S-18: nobody is there"); n != 0 || err != nil {
			t.Errorf("Revoke: %d, %v", n, err)
		}
		if r := sendHandshake(t, s.dial(), freshHandshake(old)); r.Status != 401 {
			t.Errorf("S-06: an older token: %d", r.Status)
		}
		time.Sleep(time.Second)
		listen(s.open(s.issuer.Token("alice")), true) // a login of the next second
	})
}

func TestRevokeRefusesEmptyTargets(t *testing.T) {
	inTime(t, echo, func(t *testing.T, s *timed) {
		listen(s.open(s.issuer.Token("alice")), true)
		synctest.Wait()
		for _, target := range []wssecure.Target{{}, wssecure.Subject("iss", ""), wssecure.SessionID(""), wssecure.TokenID("iss", ""),
			wssecure.OIDCSession("iss", ""), wssecure.Network(netip.Prefix{}), wssecure.Target{}.IssuedBefore(time.Now())} {
			if n, err := s.guard.Revoke(context.Background(), target, "S-18"); n != 0 || err == nil {
				t.Errorf("%+v: %d, %v", target, n, err)
			}
		}
		if len(slices.Collect(s.guard.Sessions())) != 1 {
			t.Error("a session was ended")
		}
	})
}

// S-23: whoever ends a session, and however many at once, there is one end.
func TestRacingEnds(t *testing.T) {
	for range 30 {
		var session *wssecure.Session
		ready := make(chan struct{})
		causes := make(chan error, 1)
		s := serving(t, func(ctx context.Context, c *wssecure.Conn) error {
			session = c.Session()
			close(ready)
			<-ctx.Done()
			causes <- context.Cause(ctx)
			return errors.New("the application's")
		})
		c := connect(t, s)
		next(t, ready)
		var wg sync.WaitGroup
		for i := range 4 {
			wg.Go(func() { session.Close(wssecure.StatusCode(4000+i), fmt.Sprint(i)) })
		}
		wg.Go(func() { s.Guard.Revoke(context.Background(), wssecure.Everyone(), "race") })
		wg.Go(func() { c.Send([]byte{0xFF, 0xFF}) })
		wg.Wait()
		code, _, err := c.AwaitClose()
		c.Close()
		e := s.WaitEvent(wssecure.EventClosed)
		if err != nil || int(e.CloseCode) != code || !errors.Is(next(t, causes), e.Reason) {
			t.Errorf("the peer got %d (%v), the event says %d %s", code, err, e.CloseCode, e.Reason)
		}
		oneEvent(t, s.Events(), wssecure.EventClosed)
	}
}

// S-28: during opens and ends each live session shows at most once, and the
// caller may stop and may call the guard.
func TestSessionsWhileTheyChange(t *testing.T) {
	s := serving(t, echo)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 60 {
			_, c := ask(t, s, freshHandshake(s.Issuer.Token("alice")))
			c.Close()
		}
	}()
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		seen := map[string]bool{}
		for info := range s.Guard.Sessions() {
			if seen[info.ID] || info.Subject != "alice" || info.Path != "/ws" || info.Expiry.IsZero() || info.Opened.IsZero() {
				t.Fatalf("%+v", info)
			}
			seen[info.ID] = true
			s.Guard.Revoke(context.Background(), wssecure.SessionID(info.ID), "seen")
			if len(seen) > 2 {
				break
			}
		}
	}
}
