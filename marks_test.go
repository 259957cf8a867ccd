package wssecure_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/store"
	"github.com/wssecure/wssecure/wssecuretest"
)

// marking is a guard's store whose marks can be set behind the guard's back, as
// those of another node while the feed is cut.
type marking struct {
	store.Store
	mu   sync.Mutex
	most int // operations of one batch
	n    int // batches
	down error
	// before is called with each batch.
	before func(ops []store.Op)
}

func markingStore(g *wssecure.Guard) *marking {
	m := &marking{}
	wssecure.WrapStore(g, func(own store.Store) store.Store {
		m.Store = own
		return m
	})
	return m
}

func (m *marking) Do(ctx context.Context, ops ...store.Op) error {
	m.mu.Lock()
	m.most, m.n = max(m.most, len(ops)), m.n+1
	before := m.before
	m.mu.Unlock()
	if before != nil {
		before(ops)
	}
	m.mu.Lock()
	down := m.down
	m.mu.Unlock()
	if down != nil {
		return down
	}
	return m.Store.Do(ctx, ops...)
}

func (m *marking) fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.down = err
}

func (m *marking) revoke(t *testing.T, key store.Key) {
	t.Helper()
	mark := store.Mark{Key: key, Kind: store.MarkRevoke, Why: "elsewhere"}
	if err := m.Store.Do(t.Context(), &mark); err != nil || mark.Err != nil {
		t.Fatal(err, mark.Err)
	}
}

// targets are the keys of every kind of Target that names a session of alice.
func targets(issuer, session string) map[string]store.Key {
	return map[string]store.Key{
		"Subject":     store.Subject(issuer, "alice"),
		"TokenID":     store.TokenID(issuer, "t1"),
		"OIDCSession": store.OIDCSession(issuer, "s1"),
		"SessionID":   store.Session(session),
		"Network":     store.Network(netip.MustParsePrefix("198.51.100.0/24")),
		"Everyone":    store.Everyone(),
	}
}

// TestRecheckAsksMarks is T15's gap: each kind of mark, with no event that tells.
func TestRecheckAsksMarks(t *testing.T) {
	for name := range targets("", "") {
		t.Run("S-48 "+name, func(t *testing.T) {
			a := &asking{}
			inTime(t, wssecuretest.Echo, func(t *testing.T, s *timed) {
				m := markingStore(s.guard)
				start := time.Now()
				p := listen(s.open(s.issuer.Sign("ES256", s.issuer.Claims("alice", lasting(), members{"jti": "t1", "sid": "s1"}))), true)
				synctest.Wait()
				m.revoke(t, targets(s.issuer.URL, s.sessionID(t))[name])
				p.wantEnd(t, start, 3000, "revoked", recheckEvery*9/10, recheckEvery)
			}, wssecure.SetRecheck(recheckEvery, a.ask))
		})
	}
	t.Run("S-48 many sessions are asked about in few batches", func(t *testing.T) {
		const many = 300
		a := &asking{}
		inTime(t, wssecuretest.Echo, func(t *testing.T, s *timed) {
			m := markingStore(s.guard)
			var peers []*peer
			for range many {
				peers = append(peers, listen(s.open(s.issuer.Sign("ES256", s.issuer.Claims("alice", lasting()))), true))
			}
			revoked := s.issuer.Claims("alice", lasting(), members{"jti": "t1"})
			other := listen(s.open(s.issuer.Sign("ES256", revoked)), true)
			m.revoke(t, store.TokenID(s.issuer.URL, "t1"))
			m.mu.Lock()
			m.most, m.n = 0, 0
			m.mu.Unlock()
			time.Sleep(recheckEvery)
			synctest.Wait()
			m.mu.Lock()
			if m.most != 500 || m.n > 4 {
				t.Errorf("%d batches of up to %d", m.n, m.most)
			}
			m.mu.Unlock()
			if <-other.over; other.code != 3000 {
				t.Errorf("the revoked one ended with %d", other.code)
			}
			for _, p := range peers {
				if p.code != 0 {
					t.Fatalf("another one ended with %d %s", p.code, p.reason)
				}
				leave(p)
			}
		}, wssecure.SetRecheck(recheckEvery, a.ask), wssecure.LimitConns(wssecure.BySubject(), 1000))
	})
}

// sessionID is the id of the one open session.
func (s *timed) sessionID(t *testing.T) string {
	t.Helper()
	for info := range s.guard.Sessions() {
		return info.ID
	}
	t.Fatal("no session is open")
	return ""
}

// A certificate has no time of issue that a mark on everybody or on a network
// could be after: whoever comes with it later would be ended at every interval.
func TestRecheckSparesCertificates(t *testing.T) {
	for name, target := range map[string]wssecure.Target{
		"Everyone": wssecure.Everyone(),
		"Network":  wssecure.Network(netip.MustParsePrefix(attacker + "/32")),
	} {
		t.Run("STATE 6 "+name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ca, a := newClientCA(t, "ours"), &asking{}
				leaf := ca.issue("device-1").Leaf
				g := &gate{t: t}
				g.start(stay, []wssecure.Option{wssecure.RequireClientCert(ca.pool), wssecure.SetRecheck(time.Minute, a.ask), wssecure.SetPing(time.Hour)})
				if _, err := g.guard.Revoke(t.Context(), target, name); err != nil {
					t.Fatal(err)
				}
				shown := g.knock(attacker, func(r *http.Request) {
					r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{leaf}}
				})
				wantAnswer(t, shown, 101, "")
				time.Sleep(5 * time.Minute)
				synctest.Wait()
				if n := len(g.seen(wssecure.EventClosed)); n != 0 || len(a.times()) < 5 {
					t.Errorf("%d ended, asked %d times", n, len(a.times()))
				}
			})
		})
	}
}

// A store of a later version may refuse for a reason that this one does not know.
func TestUnknownRefusalRefuses(t *testing.T) {
	g := newTokenGate(t, quiet)
	wssecure.WrapStore(g.guard, func(own store.Store) store.Store { return refuser{own} })
	wantAnswer(t, g.knock(attacker, bearer(g.issuer.Token("alice"))), 429, wssecure.ReasonConnLimit)
}

// refuser refuses each lease for a reason of its own.
type refuser struct{ store.Store }

func (r refuser) Do(ctx context.Context, ops ...store.Op) error {
	err := r.Store.Do(ctx, ops...)
	for _, op := range ops {
		if a, ok := op.(*store.Admit); ok && a.Cap > 0 {
			a.Verdict.Refused = 200
		}
	}
	return err
}

// Of several refusals the one of the earliest check is told.
func TestRevokedOutranksBanned(t *testing.T) {
	g := newTokenGate(t, quiet)
	token := g.issuer.Sign("ES256", g.issuer.Claims("alice", members{"jti": "t1"}))
	if err := g.guard.Ban(t.Context(), wssecure.Subject(g.issuer.URL, "alice"), time.Hour, "a test"); err != nil {
		t.Fatal(err)
	}
	wantAnswer(t, g.knock(attacker, bearer(token)), 403, wssecure.ReasonBanned)
	if _, err := g.guard.Revoke(t.Context(), wssecure.TokenID(g.issuer.URL, "t1"), "a test"); err != nil {
		t.Fatal(err)
	}
	wantAnswer(t, g.knock(attacker, bearer(token)), 401, wssecure.ReasonTokenInvalid) // which is all that a peer learns
}
