package wssecure_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/coder/websocket"

	"github.com/wssecure/wssecure"
	catalogue "github.com/wssecure/wssecure/internal/attack"
	"github.com/wssecure/wssecure/wssecuretest"
)

// A mutant is a server with one thing wrong. Attacks that do not find it are worth nothing.
type mutant struct {
	name    string
	catches []string // attacks that must work against it
	start   func(t *testing.T) *catalogue.Target
}

// targetOf is all that an attacker may use against a server of the kit.
func targetOf(s *wssecuretest.Server) *catalogue.Target {
	o := s.AttackOptions()
	return &catalogue.Target{
		URL: s.URL, TLS: o.TLS, Host: o.Host, Origin: o.Origin, Token: o.Token,
		Sign: o.Sign, PublicKeys: o.PublicKeys, Revoke: o.Revoke, Log: o.Log, Active: true, Timeout: hang,
	}
}

func mutants() []mutant {
	return slices.Concat(originMutants(), requestMutants(), answerMutants(), tokenMutants(), disguisedTokenMutants(), clientCertMutants(), disguiseMutants(), ticketMutants(), frameMutants(), http2Mutants(), sessionMutants())
}

// Every attack finds a server that lacks what it tests: none is a blank shot.
func TestEveryAttackFindsItsMutant(t *testing.T) {
	found := map[string][]string{} // attack -> mutants
	var mu sync.Mutex
	try := func(t *testing.T, m mutant, ids []string, missed func(catalogue.Result)) {
		target := m.start(t)
		if err := target.Prepare(t.Context()); err != nil {
			t.Fatal(err)
		}
		if ok, got := target.Admitted(); !ok {
			t.Fatalf("the mutant refuses an honest handshake: %s", got)
		}
		wantOtherwiseSound(t, target, m.catches)
		catalogue.Run(t.Context(), target, named(t, ids), func(r catalogue.Result) {
			if r.Verdict.State != catalogue.Broken {
				missed(r)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			found[r.Attack.ID] = append(found[r.Attack.ID], m.name)
		})
	}
	type again struct {
		mutant
		ids []string
	}
	var once []again
	t.Run("mutants", func(t *testing.T) {
		for _, m := range mutants() {
			t.Run(m.name, func(t *testing.T) {
				t.Parallel()
				var missed []string
				try(t, m, m.catches, func(r catalogue.Result) {
					if !pressing(r) {
						t.Errorf("%s did not find it: %s %+v", r.Attack.ID, r.Verdict.State, r.Verdict)
						return
					}
					t.Logf("%s did not find it: %+v", r.Attack.ID, r.Verdict)
					missed = append(missed, r.Attack.ID)
				})
				if missed != nil {
					mu.Lock()
					defer mu.Unlock()
					once = append(once, again{m, missed})
				}
			})
		}
	})
	// On a busy machine a server without a bound takes its time, as if it had one: a flood is tried once more, alone.
	for _, m := range once {
		t.Run("alone/"+m.name, func(t *testing.T) {
			try(t, m.mutant, m.ids, func(r catalogue.Result) {
				t.Errorf("%s did not find it: %s %+v", r.Attack.ID, r.Verdict.State, r.Verdict)
			})
		})
	}
	var table strings.Builder
	all := catalogue.All()
	for _, a := range all {
		by := strings.Join(found[a.ID], ", ")
		if by == "" {
			t.Errorf("%s finds no mutant", a.ID)
			by = "NONE"
		}
		fmt.Fprintf(&table, "%-24s | %s\n", a.ID, by)
	}
	t.Logf("%d attacks and the mutants that each has found:\n%s", len(all), table.String())
}

// wantOtherwiseSound asks one attack of each group that has little to do with those that the mutant is for: a server on
// which anything works proves nothing.
func wantOtherwiseSound(t *testing.T, target *catalogue.Target, catches []string) {
	own := map[string]bool{}
	for _, a := range named(t, catches) {
		own[a.Group] = true
	}
	for _, a := range named(t, []string{"origin-foreign", "token-none", "frame-rsv2"}) {
		if own[a.Group] {
			continue
		}
		if v := a.Try(t.Context(), target); v.State == catalogue.Broken {
			t.Errorf("the mutant is no sound server otherwise: %s finds %+v", a.ID, v)
		}
	}
}

func named(t *testing.T, ids []string) []catalogue.Attack {
	var list []catalogue.Attack
	for _, id := range ids {
		a, ok := catalogue.Find(id)
		if !ok {
			t.Errorf("no attack is called %q", id)
			continue
		}
		list = append(list, a)
	}
	return list
}

// No attack works against a guard, however it is set up, and none goes wrong.
func TestNoAttackWorksAgainstAGuard(t *testing.T) {
	for _, row := range healthy() {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			target := row.start(t)
			target.Patience, target.Slack = hang, hang // only a guard that never does what it should meets them
			if err := target.Prepare(t.Context()); err != nil {
				t.Fatal(err)
			}
			if ok, got := target.Admitted(); !ok {
				t.Fatalf("an honest handshake is refused: %s", got)
			}
			held, left := 0, []string(nil)
			// Package wssecuretest's own test waits for the ten seconds of Harden's ReadHeaderTimeout.
			list := slices.DeleteFunc(catalogue.All(), func(a catalogue.Attack) bool {
				// A crowd stays for longer than the others are given for a pong.
				return a.ID == "slow-header" || a.ID == "silent-peer" && row.crowd || a.Group == "limits" && !row.crowd
			})
			catalogue.Run(t.Context(), target, list, func(r catalogue.Result) {
				switch r.Verdict.State {
				case catalogue.Held:
					held++
				case catalogue.Left:
					left = append(left, r.Attack.ID)
				case catalogue.Unclear:
					t.Logf("%s: %+v", r.Attack.ID, r.Verdict)
					if pressing(r) { // a busy machine is too slow to tell, and no guard has fallen to it
						held++
						return
					}
					left = append(left, r.Attack.ID+" unclear")
				default:
					t.Errorf("%s: %s %+v", r.Attack.ID, r.Verdict.State, r.Verdict)
				}
			})
			want := sorted(row.left)
			if target.TLS == nil || len(target.TLS.Certificates) == 0 {
				want = sorted(want, needing(catalogue.NeedClientCert))
			}
			want = slices.DeleteFunc(want, func(id string) bool {
				id, _ = strings.CutSuffix(id, " unclear")
				return !slices.ContainsFunc(list, func(a catalogue.Attack) bool { return a.ID == id })
			})
			if left = sorted(left); !slices.Equal(left, want) {
				t.Errorf("left: %q, want %q", left, want)
			}
			if held+len(left) != len(list) {
				t.Errorf("%d held and %d left of %d", held, len(left), len(list))
			}
		})
	}
}

// pressing reports an attack by how much comes in how little time, which a busy machine cannot tell.
func pressing(r catalogue.Result) bool {
	return r.Attack.Group == "floods" || r.Attack.Group == "limits"
}

// needing are the attacks that need one of these.
func needing(n catalogue.Need) []string {
	var ids []string
	for _, a := range catalogue.All() {
		if a.Needs&n != 0 {
			ids = append(ids, a.ID)
		}
	}
	return ids
}

func sorted(lists ...[]string) []string {
	all := slices.Concat(lists...)
	slices.Sort(all)
	return slices.Compact(all)
}

// A sound server has nothing wrong.
type sound struct {
	name  string
	crowd bool     // meets crowds too, which take long
	left  []string // attacks that do not apply to it, or of which nothing can be said, sorted
	start func(t *testing.T) *catalogue.Target
}

func healthy() []sound {
	var (
		hasty      = wssecure.LimitSession(wssecure.Limits{MessageTime: 2 * time.Second, Write: 2 * time.Second})
		pinging    = wssecure.Options(wssecure.LimitSession(wssecure.Limits{MessageTime: 2 * time.Second, Pong: 3 * time.Second, Write: 2 * time.Second}), wssecure.SetPing(time.Second))
		tickets    = needing(catalogue.NeedTicket)
		secondAuth = []string{"token-list", "token-twice", "token-twice-last"}
		overTLS    = []string{"origin-rebinding"}
		explicit   = []string{"origin-missing"}
		known      = []string{"forwarded-local", "identity-header"} // whoever comes without a token is admitted
	)
	return []sound{
		{"fixture", true, sorted(tickets, explicit, overTLS, []string{"token-two-cookies"}), func(t *testing.T) *catalogue.Target {
			return targetOf(wssecuretest.NewServer(t, hasty))
		}},
		{"tickets and cookies", false, sorted(overTLS, secondAuth, []string{"token-in-cookie"}), func(t *testing.T) *catalogue.Target {
			issuer := wssecuretest.NewIssuer(t, "")
			s := wssecuretest.Start(t, wssecuretest.Config{Options: []wssecure.Option{
				wssecure.AllowOrigins(wssecuretest.Origin),
				issuer.Option(wssecure.FromCookie("__Host-sid"), wssecure.FromTicket()), pinging,
			}})
			s.Issuer = issuer
			target := targetOf(s)
			target.Place = catalogue.Place{Kind: catalogue.InCookie, Name: "__Host-sid"}
			target.Ticket = func(ctx context.Context, origin string) (string, error) {
				id := &wssecure.Identity{Issuer: issuer.URL, Subject: "bob", IssuedAt: time.Now(), Expiry: time.Now().Add(time.Hour)}
				return s.Guard.IssueTicket(ctx, id, wssecure.TicketFor{Origin: origin})
			}
			return target
		}},
		{"subprotocol and compression", false, sorted(tickets, explicit, overTLS, secondAuth, []string{"token-two-cookies"}), func(t *testing.T) *catalogue.Target {
			target := targetOf(wssecuretest.NewServer(t, pinging, wssecure.AllowCompression(), wssecure.AllowSubprotocols("chat")))
			target.Place = catalogue.Place{Kind: catalogue.InSubprotocol, Name: "bearer"}
			target.Subprotocols = []string{"chat"}
			return target
		}},
		{"another library, by Handler", false, sorted(tickets, explicit, overTLS, []string{"token-two-cookies"}), func(t *testing.T) *catalogue.Target {
			issuer := wssecuretest.NewIssuer(t, "")
			s := wssecuretest.Start(t, wssecuretest.Config{
				Options: []wssecure.Option{wssecure.AllowOrigins(wssecuretest.Origin), issuer.Option(), pinging},
				Handler: func(g *wssecure.Guard) http.Handler { return g.Handler(http.HandlerFunc(echoAs)) },
			})
			s.Issuer = issuer
			return targetOf(s)
		}},
		{"anonymous, same origin, plaintext", true, sorted(needing(catalogue.NeedToken|catalogue.NeedJWT|catalogue.NeedTicket|catalogue.NeedRevoke), known, []string{"header-hsts"}), func(t *testing.T) *catalogue.Target {
			target := targetOf(wssecuretest.Start(t, wssecuretest.Config{Plaintext: true, Options: []wssecure.Option{
				wssecure.AllowHosts(wssecuretest.Host), wssecure.InsecureAllowAnonymous("test"), wssecure.InsecureAllowPlaintext("test"), hasty,
			}}))
			target.Origin = "http://" + wssecuretest.Host
			return target
		}},
		{"AllowLocalhost", false, sorted(needing(catalogue.NeedToken|catalogue.NeedJWT|catalogue.NeedTicket|catalogue.NeedRevoke), known, []string{"header-hsts", "origin-localhost", "origin-port", "origin-regexp-dot", "origin-scheme"}), func(t *testing.T) *catalogue.Target {
			s := wssecuretest.Start(t, wssecuretest.Config{Plaintext: true, Options: []wssecure.Option{
				wssecure.AllowOrigins(wssecuretest.Origin), wssecure.InsecureAllowAnonymous("test"), wssecure.AllowLocalhost(), pinging,
			}})
			target := targetOf(s)
			_, port, _ := net.SplitHostPort(s.Addr)
			target.Host = "localhost:" + port
			target.Origin = "http://" + target.Host
			return target
		}},
		{"browser refusals", true, sorted(tickets, explicit, overTLS, []string{"token-two-cookies"}), func(t *testing.T) *catalogue.Target {
			return targetOf(wssecuretest.NewServer(t, hasty, wssecure.SetBrowserRefusals()))
		}},
		{"late tokens", false, sorted(tickets, explicit, overTLS, known, []string{
			"token-two-cookies", "token-missing unclear", "token-basic unclear", "token-in-query unclear", "token-in-cookie unclear",
		}), func(t *testing.T) *catalogue.Target {
			// Its end is long after a look behind the 101, and long before that of a peer that is gone.
			patient := wssecure.LimitSession(wssecure.Limits{MessageTime: 2 * time.Second, Pong: 10 * time.Second})
			return targetOf(wssecuretest.NewServer(t, patient, wssecure.SetPing(3*time.Second), wssecure.AllowLateToken(5*time.Second)))
		}},
		{"client certificates alone", false, sorted(needing(catalogue.NeedToken|catalogue.NeedJWT|catalogue.NeedTicket|catalogue.NeedRevoke), known, overTLS), func(t *testing.T) *catalogue.Target {
			return certified(t, pinging)
		}},
		{"strict", false, sorted(tickets, explicit, overTLS, []string{"token-two-cookies"}), func(t *testing.T) *catalogue.Target {
			target := targetOf(wssecuretest.NewServer(t, pinging, wssecure.RequireOrigin(), wssecure.AllowSubprotocols("chat"), wssecure.RequireSubprotocol(),
				wssecure.SetCSP("default-src 'none'; frame-ancestors 'none'; sandbox"),
				wssecure.LimitSessionBy(func(*wssecure.Identity) wssecure.Limits { return wssecure.Limits{Lifetime: time.Hour} })))
			target.Subprotocols = []string{"chat"}
			return target
		}},
	}
}

// echoAs is what stands behind Handler: a library whose own check of Origin is off, as the guard has decided.
func echoAs(w http.ResponseWriter, r *http.Request) {
	c, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
	if err != nil {
		return
	}
	defer c.CloseNow()
	c.SetReadLimit(-1) // the guard's has to do
	for {
		typ, p, err := c.Read(r.Context())
		if err != nil {
			return
		}
		if typ == websocket.MessageText && !utf8.Valid(p) { // this library leaves it to us
			c.Close(websocket.StatusInvalidFramePayloadData, "")
			return
		}
		if c.Write(r.Context(), typ, p) != nil {
			return
		}
	}
}
