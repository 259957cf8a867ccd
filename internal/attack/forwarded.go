package attack

import (
	"context"
	"fmt"
	"math/rand/v2"

	"github.com/wssecure/wssecure/internal/probe"
)

// This file is headers that a proxy sends, from a client that is none: does one of them change for whom the server takes us?

// addressHeaders are those in which proxies name their client.
var addressHeaders = []string{
	"X-Forwarded-For", "X-Real-IP", "True-Client-IP", "CF-Connecting-IP", "X-Client-IP", "X-Cluster-Client-IP", "Fastly-Client-IP",
	"X-Azure-ClientIP", "X-Originating-IP", "Client-IP",
}

func forwardedAttacks() []Attack {
	return each(Attack{
		Group: "token", Refs: []string{"ATTACKS R1", "CWE-290", "CWE-348"}, Severity: Critical,
		Why:    "anybody who can write a line of a request is whom they like",
		Fix:    "believe such headers from named proxies alone, and remove them at the proxy from what comes from outside",
		Option: "the default believes none; TrustProxies names the proxies",
	},
		believed("forwarded-local", "headers that say: I come from this machine, by TLS", func(h *probe.Handshake) {
			for _, name := range addressHeaders {
				h.Add(name + ": 127.0.0.1")
			}
			h.Add("Forwarded: for=127.0.0.1;proto=https;host=localhost").Add("X-Forwarded-Host: localhost").Add("X-Forwarded-Proto: https")
		}),
		believed("identity-header", "headers in which a proxy says who has logged in", func(h *probe.Handshake) {
			for _, name := range []string{
				"Remote-User", "X-Remote-User", "X-Forwarded-User", "X-Auth-Request-User", "X-Authenticated-User", "X-Webauth-User", "X-User", "X-User-Id",
				"Tailscale-User-Login", "X-MS-Client-Principal-Name",
			} {
				h.Add(name + ": admin")
			}
			for _, name := range []string{"X-Forwarded-Email", "X-Auth-Request-Email", "Cf-Access-Authenticated-User-Email", "X-Goog-Authenticated-User-Email"} {
				h.Add(name + ": admin@example.com")
			}
		}),
	)
}

// believed is a handshake without a credential that claims to need none.
func believed(id, title string, claim func(h *probe.Handshake)) Attack {
	return Attack{ID: id, Title: title, Run: func(ctx context.Context, t *Target) Verdict {
		if t.ask(ctx, t.anonymous()).admitted() {
			return left("a handshake without a credential is admitted anyway")
		}
		h := t.anonymous()
		claim(h)
		a := t.askTwice(ctx, h)
		switch {
		case a.admitted():
			return t.taken(ctx, broken(title, t.got(a), "without these headers it is refused"), h, 0)
		case a.busy() && !t.honest.busy() || a.response == nil && !a.closed():
			return unclear(title, t.got(a), "no verdict on it came back")
		}
		return held(title, t.got(a)) // the honest one, without a credential itself, may be refused in the same way
	}}
}

// borrowedAddress uses up what an address may have, and then claims others. The order of claims and plain handshakes fits no
// beat in which a limit lets one more through.
func borrowedAddress(ctx context.Context, t *Target) Verdict {
	if !t.pace.allows(8, mostHandshakes) {
		return left("it needs %d handshakes at once, more than the pace allows", mostHandshakes)
	}
	local := t.source(4)
	n, stopped := t.exhaust(ctx, local, t.anonymous)
	if !stopped.limited() {
		return left("there is no limit to get around, see limit-handshakes")
	}
	served := func(lines ...string) bool {
		h := t.anonymous()
		for _, l := range lines {
			h.Add(l)
		}
		l, a := t.openFrom(ctx, local, h)
		if l != nil {
			a = l.goodbye(a)
		}
		return !a.limited()
	}
	for _, name := range append([]string{"Forwarded"}, addressHeaders...) {
		claim := func() bool {
			address := fmt.Sprintf("203.0.113.%d", 1+rand.IntN(254))
			if name == "Forwarded" {
				address = "for=" + address
			}
			return served(name + ": " + address)
		}
		claims, plain := 0, 0
		for i, claimed := range []bool{true, false, false, true, true, false, false, true} {
			switch {
			case claimed && claim():
				claims++
			case !claimed && served():
				plain++
			}
			if i == 3 && claims < 2 {
				break
			}
		}
		if claims == 4 && plain <= 1 {
			return broken(fmt.Sprintf("%d handshakes, and then %s with another address each time", n, name), "those are judged, and others are still put off", "the header moves its sender to another address")
		}
	}
	return held(fmt.Sprintf("%d handshakes, and then %d headers with another address each time", n, 1+len(addressHeaders)), "they are put off as before: "+t.got(stopped))
}
