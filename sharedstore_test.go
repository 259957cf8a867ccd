package wssecure_test

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/internal/logbook"
	"github.com/wssecure/wssecure/internal/probe"
	"github.com/wssecure/wssecure/store"
	"github.com/wssecure/wssecure/store/storetest"
	"github.com/wssecure/wssecure/wssecuretest"
)

// fleet is some guards over one shared store, each behind a switch, in fake time.
type fleet struct {
	*testing.T
	shared *store.Memory
	issuer *wssecuretest.Issuer
	nodes  []*fleetNode
	opts   []wssecure.Option
}

type fleetNode struct {
	*timed
	link *storetest.Faulty
	book *logbook.Book
}

// inFleet runs f with n guards whose feeds are read.
func inFleet(t *testing.T, n int, f func(s *fleet), more ...wssecure.Option) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &fleet{T: t, shared: store.NewMemory(), issuer: wssecuretest.NewIssuer(t, ""), opts: more}
		for range n {
			s.add(nil)
		}
		time.Sleep(2500 * time.Millisecond) // they know of each other, and it is between two Beats
		f(s)
	})
}

// add starts a guard; its store fails as policy says.
func (s *fleet) add(policy []store.NodeOption, more ...wssecure.Option) *fleetNode {
	s.Helper()
	return s.addBehind(storetest.Fault{}, policy, more...)
}

// addBehind adds a node whose way to the store has a fault from the start.
func (s *fleet) addBehind(fault storetest.Fault, policy []store.NodeOption, more ...wssecure.Option) *fleetNode {
	s.Helper()
	x := &fleetNode{timed: &timed{issuer: s.issuer}, link: storetest.NewFaulty(s.shared), book: &logbook.Book{}}
	x.link.Set(fault)
	options := slices.Concat(s.opts, more, []wssecure.Option{
		wssecure.AllowOrigins(wssecuretest.Origin), wssecure.InsecureAllowPlaintext("pipes"), wssecure.OnEvent(x.note),
		wssecure.SetStore(x.link, policy...), wssecure.SetLogger(x.book.Logger()),
		s.issuer.Option(wssecure.FromBearer(), wssecure.FromTicket()),
	})
	guard, err := wssecure.New(options...)
	if err != nil {
		s.Fatal(err)
	}
	x.guard = guard
	x.pipeServer = newPipeServer(s, guard.ConnHandler(wssecuretest.Echo))
	s.nodes = append(s.nodes, x)
	s.Cleanup(func() {
		x.link.Heal()
		guard.Shutdown(context.Background())
		time.Sleep(5 * time.Second) // probes and the like are over
	})
	return x
}

var hanging = storetest.Fault{Hang: true}

func (x *fleetNode) cut() { x.link.Set(hanging) }

// knock is one handshake, and how long its answer took.
func (x *fleetNode) knock(token string) (*probe.Conn, *probe.Response, time.Duration) {
	c := x.dial()
	start := time.Now()
	r := sendHandshake(x.tb, c, freshHandshake(token))
	return c, r, time.Since(start)
}

func (x *fleetNode) of(kind wssecure.EventKind) (some []wssecure.Event) {
	synctest.Wait()
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, e := range x.events {
		if e.Kind == kind {
			some = append(some, e)
		}
	}
	return some
}

// TestRevocationReachesEveryNode: T15 for a session that is open on another node, and for its credential there.
func TestRevocationReachesEveryNode(t *testing.T) {
	for name, target := range map[string]func(s *fleet, x *fleetNode) wssecure.Target{
		"Subject":     func(s *fleet, _ *fleetNode) wssecure.Target { return wssecure.Subject(s.issuer.URL, "alice") },
		"TokenID":     func(s *fleet, _ *fleetNode) wssecure.Target { return wssecure.TokenID(s.issuer.URL, "t1") },
		"OIDCSession": func(s *fleet, _ *fleetNode) wssecure.Target { return wssecure.OIDCSession(s.issuer.URL, "login1") },
		"Network": func(*fleet, *fleetNode) wssecure.Target {
			return wssecure.Network(netip.MustParsePrefix("198.51.100.0/24"))
		},
		"Everyone": func(*fleet, *fleetNode) wssecure.Target { return wssecure.Everyone() },
		"SessionID": func(_ *fleet, x *fleetNode) wssecure.Target {
			for info := range x.guard.Sessions() {
				if info.Subject == "alice" {
					return wssecure.SessionID(info.ID)
				}
			}
			return wssecure.Target{}
		},
	} {
		for _, how := range []string{"at once", "after a cut"} {
			t.Run("T15 "+name+" "+how, func(t *testing.T) {
				inFleet(t, 2, func(s *fleet) {
					x, y := s.nodes[0], s.nodes[1]
					token := s.issuer.Sign("ES256", s.issuer.Claims("alice", map[string]any{"jti": "t1", "sid": "login1"}))
					other := s.issuer.Sign("ES256", s.issuer.Claims("bob", map[string]any{"jti": "t2", "sid": "login2"}))
					alice, bob := listen(x.open(token), true), listen(x.open(other), true)
					synctest.Wait()
					aim := target(s, x)
					if how == "after a cut" {
						x.link.Set(storetest.Fault{Err: storetest.ErrFault})
						time.Sleep(5 * time.Second)
					}
					start := time.Now()
					if closed, err := y.guard.Revoke(context.Background(), aim, "left"); err != nil || closed != 0 {
						t.Errorf("Revoke = %d, %v", closed, err)
					}
					if how == "after a cut" {
						time.Sleep(20 * time.Second)
						start = time.Now()
						x.link.Heal()
					}
					alice.wantEnd(t, start, 3000, "revoked", 0, time.Second)
					everybody := name == "Network" || name == "Everyone"
					if everybody {
						bob.wantEnd(t, start, 3000, "revoked", 0, time.Second)
					}
					if name != "SessionID" {
						for i, n := range s.nodes {
							if _, r, _ := n.knock(token); r.Status != http.StatusUnauthorized {
								t.Errorf("node %d: status %d", i, r.Status)
							}
						}
					}
					time.Sleep(3 * time.Second)
					if len(x.of(wssecure.EventClosed)) != map[bool]int{true: 2, false: 1}[everybody] {
						t.Error("others were ended, too")
					}
					if _, r, _ := y.knock(s.issuer.Sign("ES256", s.issuer.Claims("alice", map[string]any{"jti": "t3", "sid": "login3"}))); r.Status != 101 {
						t.Errorf("a fresh login: %d", r.Status)
					}
				})
			})
		}
	}
}

func TestCapsAndBansHoldOnAllNodes(t *testing.T) {
	inFleet(t, 3, func(s *fleet) {
		token := s.issuer.Token("alice")
		var open []*probe.Conn
		for i := range 6 {
			c, r, _ := s.nodes[i%3].knock(token)
			want := 101
			if i >= 2 {
				want = http.StatusTooManyRequests
			}
			if r.Status != want {
				t.Errorf("handshake %d: %d, want %d", i, r.Status, want)
			}
			if i < 2 {
				open = append(open, c)
			}
		}
		open[0].Close() // its place is free for the others
		time.Sleep(20 * time.Millisecond)
		if _, r, _ := s.nodes[2].knock(token); r.Status != 101 {
			t.Errorf("status %d after one has left", r.Status)
		}
		if err := s.nodes[0].guard.Ban(context.Background(), wssecure.Subject(s.issuer.URL, "bob"), time.Hour, "abuse"); err != nil {
			t.Fatal(err)
		}
		for i, x := range s.nodes {
			if _, r, _ := x.knock(s.issuer.Token("bob")); r.Status != http.StatusForbidden {
				t.Errorf("node %d: %d for whom another one has banned", i, r.Status)
			}
		}
		s.nodes[1].guard.Unban(context.Background(), wssecure.Subject(s.issuer.URL, "bob"))
		time.Sleep(10 * time.Millisecond)
		for i, x := range s.nodes {
			if _, r, _ := x.knock(s.issuer.Token("bob")); i == 0 && r.Status != 101 {
				t.Errorf("node %d: %d after Unban", i, r.Status)
			}
		}
	}, wssecure.LimitConns(wssecure.BySubject(), 2))
}

func TestL04FailuresOfAllNodesCountTogether(t *testing.T) {
	inFleet(t, 3, func(s *fleet) {
		for i := range 21 {
			_, r, took := s.nodes[i%3].knock(madeUp(s.issuer, i))
			if r.Status != http.StatusUnauthorized || took > 0 {
				t.Fatalf("failure %d: %d after %v", i, r.Status, took)
			}
			time.Sleep(15 * time.Millisecond)
		}
		time.Sleep(100 * time.Millisecond)
		bans := 0
		for i, x := range s.nodes {
			if _, r, _ := x.knock(madeUp(s.issuer, 100+i)); r.Status != http.StatusForbidden {
				t.Errorf("node %d: %d", i, r.Status)
			}
			bans += len(x.of(wssecure.EventBanned))
		}
		if bans != 1 {
			t.Errorf("%d bans", bans)
		}
	})
}

func madeUp(i *wssecuretest.Issuer, n int) string {
	token := i.Token(fmt.Sprint("mallory", n))
	at := strings.LastIndexByte(token, '.') + 10
	swap := byte('A')
	if token[at] == swap {
		swap = 'B'
	}
	return token[:at] + string(swap) + token[at+1:]
}

func TestL41AKnownTokenPassesABanThatTheNodeKnows(t *testing.T) {
	inFleet(t, 2, func(s *fleet) {
		x, y := s.nodes[0], s.nodes[1]
		token := s.issuer.Token("alice")
		if _, r, _ := x.knock(token); r.Status != 101 {
			t.Fatal(r.Status)
		}
		id := &wssecure.Identity{Issuer: s.issuer.URL, Subject: "carol", IssuedAt: time.Now()}
		ticket, _ := x.guard.IssueTicket(context.Background(), id, wssecure.TicketFor{Origin: wssecuretest.Origin})
		ban := store.Mark{Key: store.Address(netip.MustParsePrefix("198.51.100.7/32")), Kind: store.MarkBan, Base: time.Hour}
		s.shared.Do(context.Background(), &ban)
		time.Sleep(time.Second)
		if _, r, _ := x.knock(token); r.Status != 101 {
			t.Errorf("a known token: %d", r.Status)
		}
		if _, r, _ := y.knock(s.issuer.Token("bob")); r.Status != http.StatusForbidden {
			t.Errorf("an unknown one: %d", r.Status)
		}
		hs := freshHandshake("")
		hs.Target = "/?ticket=" + ticket
		c := y.dial()
		defer c.Close()
		if r := sendHandshake(t, c, hs); r.Status != 101 {
			t.Errorf("a ticket: %d %s", r.Status, r.Body)
		}
	})
}

func TestShutdownLeavesAtOnce(t *testing.T) {
	inFleet(t, 2, func(s *fleet) {
		x := s.nodes[0]
		for range 3 {
			p := listen(x.open(s.issuer.Token("alice")), true)
			defer leave(p)
		}
		held := store.Admit{Key: store.Subject(s.issuer.URL, "alice"), IssuedAt: time.Now().Add(time.Hour)}
		if s.shared.Peek(&held); held.Verdict.Held != 3 {
			t.Errorf("%d held", held.Verdict.Held)
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		x.guard.Shutdown(ctx)
		if s.shared.Peek(&held); held.Verdict.Held != 0 {
			t.Errorf("%d held after Shutdown", held.Verdict.Held)
		}
		time.Sleep(20 * time.Millisecond) // releases wait 10 to be sent together
		before, _ := x.link.Calls()
		time.Sleep(time.Minute)
		if after, _ := x.link.Calls(); after != before {
			t.Error("a guard that was shut down still asks")
		}
	})
}

func TestAllowIsSaidAtStart(t *testing.T) {
	inFleet(t, 0, func(s *fleet) {
		x := s.add([]store.NodeOption{store.OnError(store.RuleRate, store.Allow), store.OnError(store.RuleCap, store.Allow, "subject"), store.OnError(store.RuleBan, store.Deny)})
		holes := x.of(wssecure.EventInsecure)
		var said []string
		for _, e := range holes {
			if e.Check == "SetStore" {
				said = append(said, e.Hint)
			}
		}
		if len(said) != 2 || !strings.Contains(said[0], "anybody") || !strings.Contains(said[1], `"subject"`) {
			t.Errorf("%q", said)
		}
	})
}

func TestLargeCapsOfASharedStoreAreSaidAtStart(t *testing.T) {
	inFleet(t, 0, func(s *fleet) {
		x := s.add(nil, wssecure.LimitConns(wssecure.ByIP(), 1001), wssecure.LimitConns(wssecure.BySubject(), 1000), wssecure.LimitConns(wssecure.ByTotal(), 1_000_000))
		if log := x.book.String(); !strings.Contains(log, "LimitConns: 1001 by IP") || strings.Contains(log, "1000000 by") || strings.Contains(log, "by subject") {
			t.Error(log)
		}
	})
}

func TestGuardsOverOneMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := store.NewMemory()
		for i := range 70_000 { // more than the feed keeps
			shared.Do(context.Background(), &store.Mark{Key: store.Session(fmt.Sprint(i)), Kind: store.MarkRevoke})
		}
		issuer := wssecuretest.NewIssuer(t, "")
		one, other := &timed{issuer: issuer}, &timed{issuer: issuer}
		for _, s := range []*timed{one, other} {
			guard, err := wssecure.New(wssecure.AllowOrigins(wssecuretest.Origin), issuer.Option(),
				wssecure.InsecureAllowPlaintext("pipes"), wssecure.OnEvent(s.note), wssecure.SetStore(shared))
			if err != nil {
				t.Fatal(err)
			}
			s.guard = guard
			s.pipeServer = newPipeServer(t, guard.ConnHandler(wssecuretest.Echo))
			t.Cleanup(func() { guard.Shutdown(context.Background()) })
		}
		p := listen(one.open(issuer.Token("alice")), true)
		start := time.Now()
		synctest.Wait()
		if _, err := other.guard.Revoke(context.Background(), wssecure.Subject(issuer.URL, "alice"), "left"); err != nil {
			t.Error(err)
		}
		p.wantEnd(t, start, 3000, "revoked", 0, time.Second)
	})
}

func TestSetStoreMistakes(t *testing.T) {
	node, err := store.NewNode(store.NewMemory())
	if err != nil {
		t.Fatal(err)
	}
	deny := store.OnError(store.RuleCap, store.Deny)
	for want, opts := range map[string][]wssecure.Option{
		"SetStore: the store is nil; pass one, or leave the option out for this process's memory":   {wssecure.SetStore(nil)},
		"SetStore: the *store.Memory is nil; pass store.NewMemory()":                                {wssecure.SetStore((*store.Memory)(nil))},
		"SetStore: the *store.Node is nil; pass one, or the store itself":                           {wssecure.SetStore((*store.Node)(nil))},
		"SetStore: a *store.Memory is never away; remove its options":                               {wssecure.SetStore(store.NewMemory(), deny)},
		"SetStore: the *store.Node has its options; pass them to NewNode":                           {wssecure.SetStore(node, deny)},
		"SetStore: OnError: ticket cannot be allow; use deny":                                       {wssecure.SetStore(storetest.NewFaulty(store.NewMemory()), store.OnError(store.RuleTicket, store.Allow))},
		"SetStore: MaxStale: 0s is out of range; use 1s to 1h0m0s":                                  {wssecure.SetStore(storetest.NewFaulty(store.NewMemory()), deny, store.MaxStale(0))},
		"SetStore: is given twice; keep one":                                                        {wssecure.SetStore(store.NewMemory()), wssecure.SetStore(store.NewMemory())},
		"LimitConns: 10001 by subject is beyond a shared store's 10000; use ByTotal":                {wssecure.SetStore(node), wssecure.LimitConns(wssecure.BySubject(), 10_001)},
		`SetStore: OnError: "total" is no key of rate; use "ip", "subject" or the name of a ByFunc`: {wssecure.SetStore(storetest.NewFaulty(store.NewMemory()), store.OnError(store.RuleRate, store.Deny, "total"))},
		"SetStore: OnError: logout cannot be local; use deny":                                       {wssecure.SetStore(storetest.NewFaulty(store.NewMemory()), store.OnError(store.RuleLogout, store.Local))},
	} {
		guard, err := wssecure.New(append(opts, wssecure.InsecureAllowAnonymous("test"), wssecure.AllowOrigins(wssecuretest.Origin))...)
		if guard != nil || err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	guard, err := wssecure.New(wssecure.InsecureAllowAnonymous("test"), wssecure.AllowOrigins(wssecuretest.Origin))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := guard.With(wssecure.SetStore(node)); err == nil || err.Error() != "SetStore: cannot differ between routes; move it from With to New" {
		t.Errorf("With: %v", err)
	}
}

// TestAFreshLoginOutlivesAFeedThatIsReadAgain: a revocation that is delivered twice ends nobody who came after it.
func TestAFreshLoginOutlivesAFeedThatIsReadAgain(t *testing.T) {
	inFleet(t, 1, func(s *fleet) {
		x := s.nodes[0]
		for _, target := range []wssecure.Target{wssecure.Subject(s.issuer.URL, "alice"), wssecure.Everyone()} {
			if _, err := x.guard.Revoke(context.Background(), target, "left"); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(2 * time.Second)
		p := listen(x.open(s.issuer.Token("alice")), true)
		defer leave(p)
		x.link.Set(storetest.Fault{Err: storetest.ErrFault})
		time.Sleep(time.Second)
		x.link.Heal()
		time.Sleep(5 * time.Second)
		if n := len(x.of(wssecure.EventClosed)); n > 0 {
			t.Error("ended by what was revoked before it was there")
		}
	})
}

// TestT15AGuardAsksForItsSessionsAfterAGap: the feed has forgotten the one event that was about them.
func TestT15AGuardAsksForItsSessionsAfterAGap(t *testing.T) {
	inFleet(t, 1, func(s *fleet) {
		x := s.nodes[0]
		p := listen(x.open(s.issuer.Token("alice")), true)
		other := listen(x.open(s.issuer.Token("bob")), true)
		defer leave(other)
		x.link.Set(storetest.Fault{Err: storetest.ErrFault})
		time.Sleep(2 * time.Second)
		for i := range 70_000 {
			key := store.Session(fmt.Sprint(i))
			if i == 0 {
				key = store.Subject(s.issuer.URL, "alice")
			}
			s.shared.Do(context.Background(), &store.Mark{Key: key, Kind: store.MarkRevoke})
		}
		start := time.Now()
		x.link.Heal()
		p.wantEnd(t, start, 3000, "revoked", 0, time.Second)
		time.Sleep(5 * time.Second)
		if n := len(x.of(wssecure.EventClosed)); n != 1 {
			t.Errorf("%d sessions ended", n)
		}
	})
}
