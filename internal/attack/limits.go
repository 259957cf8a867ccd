package attack

import (
	"context"
	"crypto/rand"
	"fmt"
	"sync"
	"time"

	"github.com/wssecure/wssecure/internal/probe"
)

// This file is how much one client may have.

func limitAttacks() []Attack {
	return each(Attack{Group: "limits", Active: true, Alone: true, Severity: High, Refs: []string{"CWE-770"}},
		Attack{
			ID: "limit-sessions", Title: "300 sessions of one client", Refs: []string{"ATTACKS D7", "ASVS 7.1.2"}, Needs: NeedSession,
			Why: "one client takes every place of the server",
			Fix: "bound open sessions by address and by user", Option: "the default; LimitConns",
			Run: manySessions,
		},
		Attack{
			ID: "limit-leases", Title: "sessions that are cut without a word: do their places come back?", Refs: []string{"ATTACKS R6"}, Needs: NeedSession, Severity: Medium,
			Why: "a client that connects and vanishes uses up its limit for ever, or everybody's",
			Fix: "release what a session holds on every way out", Option: "the default",
			Run: leases,
		},
		Attack{
			ID: "limit-handshakes", Title: "700 handshakes of one address without a credential", Refs: []string{"ATTACKS D7"}, Severity: Medium,
			Why: "guessing and flooding cost the attacker nothing",
			Fix: "bound handshakes by address before any expensive check", Option: "the default; LimitHandshakes", Spends: true,
			Run: endless(3, "without a credential", func(t *Target) func() *probe.Handshake { return t.anonymous }),
		},
		Attack{
			ID: "forwarded-address", Title: "another address in the headers of a proxy, when the own one has had enough", Refs: []string{"ATTACKS R1", "CWE-348"},
			Why: "limits and bans do not bind whoever writes a new address into each request, or another one's: that one is banned",
			Fix: "take the client's address from such headers only where a named proxy has sent them", Option: "the default believes none; TrustProxies", Spends: true,
			Run: borrowedAddress,
		},
		Attack{
			ID: "limit-stolen", Title: "400 handshakes that a hostile page makes its visitor send", Refs: []string{"ATTACKS C13", "ATTACKS R9"}, Severity: Low,
			Why: "a page that somebody leaves open shuts them, and all behind their address, out of yours",
			Fix: "look at Origin before counting, and count what it refuses apart", Option: "the default",
			Run: stolenBudget,
		},
		Attack{
			ID: "limit-kids", Title: "200 tokens that name unknown keys, while honest clients come", Refs: []string{"ATTACKS J17", "CWE-400"}, Severity: Medium, Needs: NeedSession | NeedJWT,
			Why: "the server asks its issuer for each of them, and everybody waits",
			Fix: "ask the issuer once for all unknown keys of a time, and let nobody wait for it whose key is known", Option: "the default of OIDC and JWKS",
			Run: unknownKeys,
		},
		// The last one: it may earn this address a ban.
		Attack{
			ID: "limit-guessing", Title: "700 bad tokens of one address", Refs: []string{"ATTACKS R8", "CWE-307", "ASVS 6.3.1"}, Severity: Medium, Needs: NeedToken,
			Why: "guessing has no end, and each guess costs the server a signature",
			Fix: "bound handshakes by address, and ban who fails again and again", Option: "the default; LimitHandshakes, LimitFailures", Spends: true,
			Run: endless(5, "with a bad token each", guesses),
		},
	)
}

// recoveryOf is how long places may need to come back.
const recoveryOf = 5 * time.Second

// source is an address that no other attack uses, where there are such: what is spent from there is nobody else's.
func (t *Target) source(n int) string {
	if t.LocalAddr == "" && t.loopback() {
		return fmt.Sprintf("127.0.77.%d", n)
	}
	return t.LocalAddr
}

func manySessions(ctx context.Context, t *Target) Verdict {
	const most = 300
	if !t.pace.allows(most, most) {
		return left("it needs %d connections at once, more than the pace allows", most)
	}
	links, a := t.hold(ctx, most, t.source(1))
	defer closeAll(links)
	sent := fmt.Sprintf("%d handshakes, each left open", most)
	got := fmt.Sprintf("%d are open; the last answer: %s", len(links), t.got(a))
	if len(links) < most {
		return held(sent, got)
	}
	ended := 0
	for _, l := range links {
		if l.watch(time.Millisecond, nil).over() {
			ended++
		}
	}
	if ended > 0 {
		return unclear(sent, got, "%d of them were ended before the last one: with fewer open at once it cannot be seen whether there is an end to it", ended)
	}
	return broken(sent, got, "there is no end to it")
}

// hold opens up to n sessions, eight at a time, and stops at the first refusal, whose answer it returns.
func (t *Target) hold(ctx context.Context, n int, local string) ([]*link, answer) {
	var mu sync.Mutex
	var links []*link
	var last answer
	var opening sync.WaitGroup
	begun, refused := 0, false
	turn := func() bool {
		mu.Lock()
		defer mu.Unlock()
		begun++
		return begun <= n && !refused && ctx.Err() == nil
	}
	for range 8 {
		opening.Go(func() {
			for turn() {
				l, a := t.openFrom(ctx, local, t.Honest())
				if l != nil {
					a = l.farewell(a)
				}
				mu.Lock()
				if a.admitted() {
					links = append(links, l)
					if !refused {
						last = a
					}
				} else {
					refused, last = true, a
					if l != nil {
						l.Close()
					}
				}
				mu.Unlock()
			}
		})
	}
	opening.Wait()
	return links, last
}

func closeAll(links []*link) {
	for _, l := range links {
		l.Close()
	}
}

// leases fills the places of one address, if there is an end to them, and cuts all connections; the honest client that Try
// sends afterwards must find a place, so it comes from there too.
func leases(ctx context.Context, t *Target) Verdict {
	const most = 100
	if !t.pace.allows(most, most) {
		return left("it needs %d connections at once, more than the pace allows", most)
	}
	local := t.source(2)
	links, _ := t.hold(ctx, most, local)
	n := len(links)
	closeAll(links)
	sent := fmt.Sprintf("%d sessions, cut without a close frame", n)
	var a answer
	for end := time.Now().Add(t.within(recoveryOf)); time.Now().Before(end); sleep(ctx, 100*time.Millisecond) {
		again, l := t.hold(ctx, n, local)
		closeAll(again)
		if a = l; len(again) >= n {
			return held(sent, "as many were admitted again")
		}
	}
	if a.response == nil {
		// A bound on connections, such as LimitAccepts, does not speak HTTP.
		return unclear(sent, t.got(a), "%v later not as many connections are taken as before", t.within(recoveryOf))
	}
	return broken(sent, t.got(a), "%v later not as many are admitted as before", t.within(recoveryOf))
}

// mostHandshakes is more than any server should judge of one address in a row.
const mostHandshakes = 700

// inARow is how long they may take to be in a row: a bound by rate lets some ten a second pass for ever.
const inARow = 30 * time.Second

// limited reports that a server has had enough of this address.
func (a answer) limited() bool {
	return a.busy() || a.after.code == 1008 || a.status() == 403 && a.response.Get("Retry-After") != "" || a.err != nil
}

// exhaust makes handshakes, eight at a time, until one is refused for their number, and returns how many and that answer.
func (t *Target) exhaust(ctx context.Context, local string, of func() *probe.Handshake) (int, answer) {
	var mu sync.Mutex
	var stopped answer
	count := 0
	enough := func() bool {
		mu.Lock()
		defer mu.Unlock()
		if count == mostHandshakes || stopped.limited() || ctx.Err() != nil {
			return true
		}
		count++
		return false
	}
	var asking sync.WaitGroup
	for range 8 {
		asking.Go(func() {
			for !enough() {
				l, a := t.openFrom(ctx, local, of())
				if l != nil {
					a = l.goodbye(a)
				}
				if a.limited() {
					mu.Lock()
					stopped = a
					mu.Unlock()
				}
			}
		})
	}
	asking.Wait()
	return count, stopped
}

// endless is an attack by handshakes without end from an address of its own.
func endless(source int, what string, of func(t *Target) func() *probe.Handshake) func(ctx context.Context, t *Target) Verdict {
	return func(ctx context.Context, t *Target) Verdict {
		if !t.pace.allows(8, mostHandshakes) {
			return left("it needs %d handshakes at once, more than the pace allows", mostHandshakes)
		}
		began := time.Now()
		n, stopped := t.exhaust(ctx, t.source(source), of(t))
		took := time.Since(began).Round(time.Second)
		sent := fmt.Sprintf("%d handshakes %s", n, what)
		switch {
		case stopped.limited():
		case took > inARow:
			return unclear(sent, "all of them were judged", "they took %v: a bound on their rate would have let as many pass", took)
		default:
			return broken(sent, "all of them were judged", "there is no end to it")
		}
		return held(sent, t.got(stopped))
	}
}

// guesses are tokens that are wrong in their last part, or altogether, each another one.
func guesses(t *Target) func() *probe.Handshake {
	stem := ""
	if j := t.jwt(); j.parts[2] != "" {
		stem = j.parts[0] + "." + j.parts[1] + "."
	}
	return func() *probe.Handshake {
		var signature [64]byte
		rand.Read(signature[:])
		guess := stem + base64url(signature[:])
		t.hide(guess)
		return t.with(guess)
	}
}

// stolenBudget dials as a hostile page makes its visitor's browser do, and then as that visitor.
func stolenBudget(ctx context.Context, t *Target) Verdict {
	const most = 400
	if !t.pace.allows(8, most) {
		return left("it needs %d handshakes at once, more than the pace allows", most)
	}
	local := t.source(6)
	foreign := func() *probe.Handshake { return t.anonymous().Set("Origin", evilOrigin) }
	if t.ask(ctx, t.Honest().Set("Origin", evilOrigin)).admitted() {
		return left("a foreign page is admitted, see origin-foreign")
	}
	visit := func() answer {
		l, a := t.openFrom(ctx, local, t.Honest())
		if l != nil {
			a = l.goodbye(a)
		}
		return a
	}
	if a := visit(); a.limited() {
		return unclear("an honest handshake", t.got(a), "this address has had too much already")
	}
	var asking sync.WaitGroup
	for range 8 {
		asking.Go(func() {
			for range most / 8 {
				if l, a := t.openFrom(ctx, local, foreign()); l != nil {
					l.goodbye(a)
				}
			}
		})
	}
	asking.Wait()
	sent := fmt.Sprintf("%d handshakes of a foreign page, and then one of a good page in the same browser", most)
	var a answer
	for range 3 {
		if a = visit(); !a.limited() {
			return held(sent, t.got(a))
		}
	}
	return broken(sent, t.got(a), "the visitor is shut out")
}

// unknownKeys looks whether honest clients wait for what tokens with unknown keys cost the server.
func unknownKeys(ctx context.Context, t *Target) Verdict {
	const most, looks = 200, 5
	if !t.pace.allows(9, most+looks) {
		return left("it needs %d handshakes at once, more than the pace allows", most)
	}
	flooding, stop := context.WithCancel(ctx)
	j := t.jwt()
	var flood sync.WaitGroup
	for range 8 {
		flood.Go(func() {
			for range most / 8 {
				forged := j.header.with(members{"kid": canary()}).segment() + "." + j.parts[1] + "." + j.parts[2]
				t.hide(forged)
				if l, _ := t.openFrom(flooding, t.source(7), t.with(forged)); l != nil {
					l.Close()
				}
				if flooding.Err() != nil {
					return
				}
			}
		})
	}
	defer flood.Wait()
	defer stop()
	sent := fmt.Sprintf("%d tokens with a kid each, and honest handshakes beside them", most)
	var a answer
	for range looks {
		sleep(ctx, 50*time.Millisecond)
		if a = t.ask(ctx, t.Honest()); a.timedOut() || a.took > t.within(prompt) {
			return broken(sent, t.got(a), "an honest handshake took %v", a.took.Round(time.Millisecond))
		}
	}
	return held(sent, t.got(a))
}

// goodbye ends a session that was admitted, so that it takes no place; where none was, the server has said so first.
func (l *link) goodbye(a answer) answer {
	if a.status() == 101 {
		l.Send(probe.CloseFrame(1000, ""))
		a.after = l.watch(time.Second, nil)
	}
	l.Close()
	return a
}
