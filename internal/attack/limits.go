package attack

import (
	"context"
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
			Fix: "bound handshakes by address before any expensive check", Option: "the default; LimitHandshakes",
			Run: manyHandshakes,
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
	if len(links) == most {
		return broken(sent, got, "there is no end to it")
	}
	return held(sent, got)
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
	for end := time.Now().Add(recoveryOf); time.Now().Before(end); sleep(ctx, 100*time.Millisecond) {
		again, l := t.hold(ctx, n, local)
		closeAll(again)
		if a = l; len(again) >= n {
			return held(sent, "as many were admitted again")
		}
	}
	if a.response == nil {
		// A bound on connections, such as LimitAccepts, does not speak HTTP.
		return unclear(sent, t.got(a), "%v later not as many connections are taken as before", recoveryOf)
	}
	return broken(sent, t.got(a), "%v later not as many are admitted as before", recoveryOf)
}

func manyHandshakes(ctx context.Context, t *Target) Verdict {
	const most = 700
	if !t.pace.allows(8, most) {
		return left("it needs %d handshakes at once, more than the pace allows", most)
	}
	var mu sync.Mutex
	var stopped answer
	count := 0
	enough := func() bool {
		mu.Lock()
		defer mu.Unlock()
		count++
		return count > most || stopped.response != nil || stopped.err != nil || ctx.Err() != nil
	}
	var asking sync.WaitGroup
	for range 8 {
		asking.Go(func() {
			for !enough() {
				l, a := t.openFrom(ctx, t.source(3), t.anonymous())
				if l != nil {
					a = l.goodbye(a)
				}
				if a.busy() || a.after.code == 1008 || a.status() == 403 && a.response.Get("Retry-After") != "" || a.err != nil {
					mu.Lock()
					stopped = a
					mu.Unlock()
				}
			}
		})
	}
	asking.Wait()
	sent := fmt.Sprintf("%d handshakes without a credential", min(count, most))
	if stopped.response == nil && stopped.err == nil {
		return broken(sent, "all of them were judged", "there is no end to it")
	}
	return held(sent, t.got(stopped))
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
