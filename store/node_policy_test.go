package store_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/wssecure/wssecure/store"
)

// The table of failure policies, row by row: what a node answers while it is cut off.
func TestPolicies(t *testing.T) {
	const (
		admits = iota
		refuses
		denies
	)
	tight := store.Rate{N: 1, Per: time.Hour, Burst: 2}
	custom := store.Custom("tenant", "acme")
	type step struct {
		op   func(x *clusterNode) store.Op
		want int
	}
	rated := func(k store.Key) func(*clusterNode) store.Op {
		return func(*clusterNode) store.Op {
			a := rate(k, tight, 1)
			a.IssuedAt = time.Now().Add(time.Hour)
			return &a
		}
	}
	capped := func(k store.Key, conn uint64) func(*clusterNode) store.Op {
		return func(x *clusterNode) store.Op { a := x.lease(k, 4, conn); return &a }
	}
	marked := func(k store.Key) func(*clusterNode) store.Op {
		return func(*clusterNode) store.Op { return &store.Admit{Key: k, IssuedAt: time.Now().Add(time.Hour)} }
	}
	same := func(op store.Op) func(*clusterNode) store.Op { return func(*clusterNode) store.Op { return op } }
	claim := func(s store.Space, value string) func(*clusterNode) store.Op {
		return same(&store.Claim{Space: s, Value: value, TTL: time.Hour})
	}
	redeem := same(&store.Redeem{Ticket: "t"})
	for name, row := range map[string]struct {
		opts  []store.NodeOption
		wait  time.Duration
		steps []step
	}{
		"rate: its share":        {nil, 0, []step{{rated(client), admits}, {rated(client), refuses}}},
		"rate: deny":             {[]store.NodeOption{store.OnError(store.RuleRate, store.Deny)}, 0, []step{{rated(client), denies}, {marked(user), admits}}},
		"rate: allow":            {[]store.NodeOption{store.OnError(store.RuleRate, store.Allow)}, 0, []step{{rated(client), admits}, {rated(client), admits}, {rated(client), admits}}},
		"rate: deny one key":     {[]store.NodeOption{store.OnError(store.RuleRate, store.Deny, "tenant")}, 0, []step{{rated(custom), denies}, {rated(client), admits}, {rated(user), admits}}},
		"rate: deny ip":          {[]store.NodeOption{store.OnError(store.RuleRate, store.Deny, "ip")}, 0, []step{{rated(client), denies}, {rated(custom), admits}}},
		"cap: its share":         {nil, 0, []step{{capped(user, 1), admits}, {capped(user, 2), admits}, {capped(user, 3), refuses}, {capped(user, 1), admits}}},
		"cap: deny":              {[]store.NodeOption{store.OnError(store.RuleCap, store.Deny)}, 0, []step{{capped(user, 1), denies}, {rated(user), admits}}},
		"cap: deny subject only": {[]store.NodeOption{store.OnError(store.RuleCap, store.Deny, "subject")}, 0, []step{{capped(user, 1), denies}, {capped(client, 1), admits}}},
		"cap: local but subject": {[]store.NodeOption{store.OnError(store.RuleCap, store.Deny), store.OnError(store.RuleCap, store.Local, "subject")}, 0, []step{{capped(user, 1), admits}, {capped(client, 1), denies}}},
		"cap: close":             {[]store.NodeOption{store.OnError(store.RuleCap, store.Close)}, 0, []step{{capped(user, 1), denies}}},
		"cap: allow":             {[]store.NodeOption{store.OnError(store.RuleCap, store.Allow)}, 0, []step{{capped(user, 1), admits}, {capped(user, 2), admits}, {capped(user, 3), admits}, {capped(user, 4), admits}, {capped(user, 5), admits}}},
		"ticket: deny":           {nil, 0, []step{{redeem, denies}, {same(&store.Redeem{Ticket: "t", Keep: true}), denies}, {same(&store.Put{Ticket: "u", TTL: time.Hour}), denies}}},
		"logout: deny":           {nil, 0, []step{{claim(store.SpaceLogout, "jti"), denies}}},
		"replay: own cache":      {nil, 0, []step{{claim(store.SpaceHandshakeKey, "k"), admits}, {claim(store.SpaceHandshakeKey, "k"), refuses}}},
		"replay: deny":           {[]store.NodeOption{store.OnError(store.RuleReplay, store.Deny)}, 0, []step{{claim(store.SpaceHandshakeKey, "k"), denies}}},
		"ban: the feed's":        {nil, 0, []step{{rated(address(7)), refuses}, {rated(address(8)), admits}}},
		"ban: deny":              {[]store.NodeOption{store.OnError(store.RuleBan, store.Deny)}, 0, []step{{rated(address(8)), denies}, {marked(store.TokenID("i", "j")), admits}}},
		"revocation: fresh":      {nil, 50 * time.Second, []step{{marked(user), admits}, {marked(store.Everyone()), admits}, {marked(store.TokenID("i", "gone")), refuses}}},
		"revocation: stale":      {nil, 65 * time.Second, []step{{marked(user), denies}, {marked(store.Everyone()), denies}, {marked(store.TokenID("i", "j")), denies}, {rated(client), admits}}},
		"revocation: MaxStale":   {[]store.NodeOption{store.MaxStale(5 * time.Second)}, 6 * time.Second, []step{{marked(user), denies}}},
		"revocation: deny":       {[]store.NodeOption{store.OnError(store.RuleRevocation, store.Deny)}, 0, []step{{marked(user), denies}, {rated(client), admits}}},
		"revocation: close":      {[]store.NodeOption{store.OnError(store.RuleRevocation, store.Close)}, 0, []step{{marked(user), denies}}},
	} {
		t.Run(name, func(t *testing.T) {
			inCluster(t, 2, func(c *cluster) {
				x := c.nodes[0]
				c.nodes[1].Do(ctx, &store.Put{Ticket: "t", TTL: time.Hour},
					&store.Mark{Key: address(7), Kind: store.MarkBan, Base: time.Hour},
					&store.Mark{Key: store.TokenID("i", "gone"), Kind: store.MarkRevoke})
				time.Sleep(2 * time.Second)
				x.cut()
				time.Sleep(row.wait)
				for i, s := range row.steps {
					op := s.op(x)
					start := time.Now()
					x.Do(ctx, op)
					if took := time.Since(start); took > 0 {
						c.Errorf("step %d took %v with an open breaker", i, took)
					}
					if got, err := outcome(op); got != s.want {
						c.Errorf("step %d: got %d (%v), want %d", i, got, err, s.want)
					}
				}
			}, row.opts...)
		})
	}
}

// outcome is 0 for admitted, 1 for refused, 2 for denied.
func outcome(op store.Op) (int, error) {
	refused, err := false, error(nil)
	switch o := op.(type) {
	case *store.Admit:
		refused, err = o.Verdict.Refused != store.None, o.Err
	case *store.Claim:
		refused, err = !o.First, o.Err
	case *store.Redeem:
		refused, err = !o.OK, o.Err
	case *store.Put:
		err = o.Err
	}
	switch {
	case errors.Is(err, store.ErrUnavailable):
		return 2, err
	case err != nil:
		return 3, err
	case refused:
		return 1, nil
	}
	return 0, nil
}

func TestNodeOptionsThatCannotBe(t *testing.T) {
	for want, opt := range map[string]store.NodeOption{
		`OnError: ticket cannot be allow; use deny`:                                         store.OnError(store.RuleTicket, store.Allow),
		`OnError: ticket cannot be local; use deny`:                                         store.OnError(store.RuleTicket, store.Local),
		`OnError: logout cannot be allow; use deny`:                                         store.OnError(store.RuleLogout, store.Allow),
		`OnError: replay cannot be allow; use local or deny`:                                store.OnError(store.RuleReplay, store.Allow),
		`OnError: ban cannot be allow; use local or deny`:                                   store.OnError(store.RuleBan, store.Allow),
		`OnError: revocation cannot be allow; use local, deny or close`:                     store.OnError(store.RuleRevocation, store.Allow),
		`OnError: rate cannot be close; use local, deny or allow`:                           store.OnError(store.RuleRate, store.Close),
		`OnError: rate cannot be unknown policy`:                                            store.OnError(store.RuleRate, 0),
		`OnError: rule 0 is unknown`:                                                        store.OnError(0, store.Deny),
		`OnError: rule 99 is unknown`:                                                       store.OnError(99, store.Deny),
		`OnError: replay has no keys to tell apart; leave "ip" out`:                         store.OnError(store.RuleReplay, store.Deny, "ip"),
		`OnError: "total" is no key of cap; use "ip", "subject" or the name of a ByFunc`:    store.OnError(store.RuleCap, store.Deny, "tenant", "total"),
		`OnError: "IP" is no key of ban; use "ip", "subject" or the name of a ByFunc`:       store.OnError(store.RuleBan, store.Deny, "IP"),
		`OnError: "Subject" is no key of rate; use "ip", "subject" or the name of a ByFunc`: store.OnError(store.RuleRate, store.Deny, "Subject"),
		`OnError: a key of cap is empty`:                                                    store.OnError(store.RuleCap, store.Deny, ""),
		`MaxStale: 0s is out of range; use 1s to 1h0m0s`:                                    store.MaxStale(0),
		`MaxStale: 2h0m0s is out of range`:                                                  store.MaxStale(2 * time.Hour),
		`NewNode: option 1 is nil; remove it`:                                               nil,
	} {
		if _, err := store.NewNode(store.NewMemory(), opt); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	_, err := store.NewNode(nil, store.OnError(store.RuleCap, store.Deny), store.OnError(store.RuleCap, store.Allow),
		store.OnError(store.RuleRate, store.Deny, "ip"), store.OnError(store.RuleRate, store.Deny, "ip"), store.MaxStale(time.Minute), store.MaxStale(time.Minute))
	for _, want := range []string{"NewNode: the store is nil", "OnError: cap is given twice", `OnError: rate of "ip" is given twice`, "MaxStale: is given twice"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q in it", err, want)
		}
	}
	// A rule is what its option says, by key.
	n := newNode(t, store.NewMemory(), store.OnError(store.RuleCap, store.Close, "subject", "tenant"))
	for k, want := range map[store.Key]store.Policy{
		user: store.Close, client: store.Local, store.Custom("tenant", "a"): store.Close, store.Custom("room", "tenant"): store.Local,
		store.Network(netip.MustParsePrefix("10.0.0.0/8")): store.Local, store.Everyone(): store.Local,
	} {
		if got := n.Policy(store.RuleCap, k); got != want {
			t.Errorf("%v: %v, want %v", k, got, want)
		}
	}
}

// TestAnswersFromOutside: leases under a name that is not the node's are neither counted nor invented here.
func TestLeasesOfOthersAreNotDecidedHere(t *testing.T) {
	inCluster(t, 1, func(c *cluster) {
		x := c.nodes[0]
		x.cut()
		a := x.lease(user, 4, 1)
		a.Node = 77
		if _, err := x.admit(a); !errors.Is(err, store.ErrUnavailable) {
			c.Errorf("got %v", err)
		}
	})
}

func TestANodeThatHasNeverReadTheFeedVouchesForNobody(t *testing.T) {
	n := newNode(t, failsOps{store.NewMemory()})
	a := store.Admit{Key: user, IssuedAt: time.Now()}
	if n.Do(ctx, &a); !errors.Is(a.Err, store.ErrUnavailable) {
		t.Errorf("got %+v, %v", a.Verdict, a.Err)
	}
	if !n.Stale() {
		t.Error("not stale")
	}
}

func TestDeadline(t *testing.T) {
	closeCap, closeRevoked := store.OnError(store.RuleCap, store.Close, "subject"), store.OnError(store.RuleRevocation, store.Close)
	for name, row := range map[string]struct {
		opts  []store.NodeOption
		rules []store.Rule
		want  time.Duration // after the cut; zero: none
	}{
		"none":               {nil, nil, 0},
		"cap":                {[]store.NodeOption{closeCap}, nil, 4 * time.Second},
		"revocation":         {[]store.NodeOption{closeRevoked}, nil, time.Minute},
		"both":               {[]store.NodeOption{closeCap, closeRevoked}, nil, 4 * time.Second},
		"of one":             {[]store.NodeOption{closeCap, closeRevoked}, []store.Rule{store.RuleRevocation}, time.Minute},
		"of one that is not": {[]store.NodeOption{closeCap}, []store.Rule{store.RuleRevocation}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			inCluster(t, 1, func(c *cluster) {
				x := c.nodes[0]
				x.cut()
				time.Sleep(3 * time.Second) // the last Beat that was heard is up to a second older than the cut
				got := x.Deadline(row.rules...)
				if row.want == 0 {
					if !got.IsZero() {
						c.Errorf("got %v", got)
					}
					return
				}
				left := time.Until(got)
				if most := row.want - 3*time.Second + 25*5*time.Millisecond; left > most || left < row.want-4*time.Second-time.Second/2 {
					c.Errorf("%v left, want %v less the last 3 to 4 s", left, row.want)
				}
				x.heal()
				if left := time.Until(x.Deadline(row.rules...)); left < row.want-2*time.Second {
					c.Errorf("%v left after the heal", left)
				}
			}, row.opts...)
		})
	}
}
