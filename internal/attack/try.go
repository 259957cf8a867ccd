package attack

import (
	"context"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/wssecure/wssecure/internal/probe"
	"github.com/wssecure/wssecure/internal/quote"
)

// longest is what one attack may take beside Target.Patience; none has more than eight steps in a row that a slow server
// may draw out.
func (t *Target) longest() time.Duration {
	return max(40*time.Second, 8*t.step()) + t.Patience + t.Slack
}

// Try runs one attack against a prepared target, and then looks whether the target still serves honest clients.
func (a Attack) Try(ctx context.Context, t *Target) Verdict {
	if v, missing := t.lacks(a); missing {
		return v
	}
	defer t.apart(ctx)()
	began := time.Now()
	if f := t.fallen.Load(); f != nil {
		return f.spares()
	}
	ctx, cancel := context.WithTimeout(ctx, t.longest())
	defer cancel()
	if v, shut := t.isShut(ctx); shut {
		return v
	}
	v := a.run(ctx, t)
	if ctx.Err() != nil && v.State != Left {
		return Verdict{State: Unclear, Sent: v.Sent, Got: v.Got, Detail: "there was no time to end it"}
	}
	if a.Active && v.State != Left && v.State != Broken {
		return t.survived(ctx, a, began, v)
	}
	if v.State == Held {
		return t.meant(ctx, v)
	}
	return v
}

// run makes a mistake of ours a verdict that cannot be decided, not the end of a scan.
func (a Attack) run(ctx context.Context, t *Target) (v Verdict) {
	defer func() {
		if p := recover(); p != nil {
			v = Verdict{State: Unclear, Detail: quote.Cut(fmt.Sprintf("the attack itself failed: %v\n%s", p, debug.Stack()), 2000)}
		}
	}()
	return a.Run(ctx, t)
}

// lacks says what an attack would need and does not have.
func (t *Target) lacks(a Attack) (Verdict, bool) {
	if a.Active && !t.Active {
		return left("active attacks were not allowed"), true
	}
	for _, n := range []struct {
		need    Need
		given   bool
		missing string
	}{
		{NeedToken | NeedJWT, t.Token != nil, "no token was given"},
		{NeedSign, t.Sign != nil, "it needs a function that signs: wssecuretest.Attack takes one"},
		{NeedKeys, len(t.PublicKeys) > 0, "it needs a public key: wssecuretest.Attack takes some"},
		{NeedTicket, t.Ticket != nil, "it needs a function that issues tickets: wssecuretest.Attack takes one"},
		{NeedRevoke, t.Revoke != nil, "it needs a function that revokes: wssecuretest.Attack takes one"},
		{NeedClientCert, t.asksForCert.Load(), "the server asks for no client certificate"},
		{NeedClientCert, t.shown.Load() != nil, "no client certificate was given"},
		{NeedLog, t.Log != nil, "it needs a function that reads the server's log: wssecuretest.Attack takes one"},
		{NeedSession, t.honest.admitted(), "the honest handshake is not admitted: " + t.got(t.honest)},
	} {
		if a.Needs&n.need != 0 && !n.given {
			return left("%s", n.missing), true
		}
	}
	if a.Needs&NeedJWT != 0 && strings.Count(t.token(), ".") != 2 {
		return left("the token is no JWT"), true
	}
	return Verdict{}, false
}

// A Result is one attack with its end.
type Result struct {
	Attack  Attack
	Verdict Verdict
	Took    time.Duration
}

// Run tries attacks, several at once where they allow it, and reports each as it ends, one at a time.
func Run(ctx context.Context, t *Target, list []Attack, report func(Result)) {
	var mu sync.Mutex
	one := func(a Attack) {
		began := time.Now()
		r := Result{Attack: a, Verdict: a.Try(ctx, t), Took: time.Since(began)}
		mu.Lock()
		defer mu.Unlock()
		report(r)
	}
	places := make(chan struct{}, sideBySide)
	var running sync.WaitGroup
	for _, a := range list {
		if a.Alone {
			continue
		}
		places <- struct{}{}
		running.Go(func() {
			one(a)
			<-places
		})
	}
	running.Wait()
	for _, a := range list {
		if a.Alone {
			one(a)
		}
	}
}

// line is every header line of that name, for Verdict.Sent.
func line(h *probe.Handshake, name string) string {
	var found []string
	for _, l := range h.Lines {
		if n, _, _ := strings.Cut(l, ":"); strings.EqualFold(n, name) {
			found = append(found, l)
		}
	}
	return strings.Join(found, " | ")
}

// difference is what a change has made of a handshake, for Verdict.Sent.
func difference(before, after *probe.Handshake) string {
	found := append(diff(after.Lines, before.Lines, ""), diff(before.Lines, after.Lines, "no ")...)
	if after.Method != before.Method || after.Target != before.Target || after.Proto != before.Proto {
		path, _, _ := strings.Cut(after.Target, "?") // tokens and tickets stand behind it
		found = append([]string{after.Method + " " + path + " " + after.Proto}, found...)
	}
	return strings.Join(found, " | ")
}

// diff is what stands in a and not, as often, in b.
func diff(a, b []string, mark string) []string {
	b = slices.Clone(b)
	var found []string
	for _, l := range a {
		if i := slices.Index(b, l); i >= 0 {
			b = slices.Delete(b, i, i+1)
			continue
		}
		found = append(found, mark+l)
	}
	return found
}
