package wssecure

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/wssecure/wssecure/internal/limit"
	"github.com/wssecure/wssecure/store"
)

// Rate is N events in each Per, with room for Burst at once; a Burst of 0 is N.
// N and Per are 1 or more: no Rate stands for "never" or "without a limit".
type Rate struct {
	N     int
	Per   time.Duration
	Burst int
}

// PerSecond is n events a second, n at once.
func PerSecond(n int) Rate { return Rate{N: n, Per: time.Second, Burst: n} }

// PerMinute is n events a minute, n at once.
func PerMinute(n int) Rate { return Rate{N: n, Per: time.Minute, Burst: n} }

// PerHour is n events an hour, n at once.
func PerHour(n int) Rate { return Rate{N: n, Per: time.Hour, Burst: n} }

func (r Rate) filled() Rate {
	if r.Burst == 0 {
		r.Burst = r.N
	}
	return r
}

// words are for the operator.
func (r Rate) words() string { return fmt.Sprintf("%d per %s, %d at once", r.N, r.Per, r.Burst) }

func (r Rate) times(k int) Rate { return Rate{N: r.N * k, Per: r.Per, Burst: r.Burst * k} }

// mostPerRate keeps the arithmetic of every limiter far from overflow.
const mostPerRate = 1_000_000_000

// fault says what is wrong with the rate of an option; example is a sound one.
func (r Rate) fault(example string) string {
	switch {
	case r.N <= 0 || r.Per <= 0:
		return fmt.Sprintf("%d per %s admits nobody; use a rate such as %s", r.N, r.Per, example)
	case r.Burst < 0:
		return fmt.Sprintf("burst %d is negative; use 1 or more", r.Burst)
	case r.N > mostPerRate || r.Burst > mostPerRate:
		return fmt.Sprintf("%d per %s is no limit; use %d or less", max(r.N, r.Burst), r.Per, mostPerRate)
	case limit.Rate(r.filled()).Valid() != nil:
		return fmt.Sprintf("%d at once at %d per %s take over five years to come back; use less at once or a shorter time", r.filled().Burst, r.N, r.Per)
	}
	return ""
}

// Key says what a limit counts by.
type Key struct {
	kind  keyKind
	name  string
	fn    func(*Handshake) string
	calls *calls
}

type keyKind uint8

const (
	keyIP keyKind = iota + 1
	keySubject
	keyTotal
	keyFunc
)

// ByIP counts by client address: IPv4 addresses singly, IPv6 by /64. See
// [TrustProxies] for servers behind a proxy.
func ByIP() Key { return Key{kind: keyIP, name: "ip"} }

// BySubject counts by issuer and subject of the Identity, and skips handshakes
// without one.
func BySubject() Key { return Key{kind: keySubject, name: "subject"} }

// ByTotal counts everything of this process together.
func ByTotal() Key { return Key{kind: keyTotal, name: "total"} }

// ByFunc counts by what fn returns, under a name of its own that is not "ip",
// "subject" or "total", and skips handshakes for which it returns "". A panic refuses with 500, no answer within
// [LimitHandshakeTime] with 503.
func ByFunc(name string, fn func(*Handshake) string) Key {
	return Key{kind: keyFunc, name: name, fn: fn, calls: new(calls)}
}

// builtinKeys are the names that a ByFunc may not take: a policy of [store.OnError]
// for one of them must not reach the other.
var builtinKeys = []string{"ip", "subject", "total", knownTokens}

// knownTokens is what the handshakes of one token are counted under that passes
// what holds its address up.
const knownTokens = "known-token"

// LimitHandshakes caps the rate of handshakes by key: 600 a minute with a burst
// of 300 by address unless given, and 16 times that for an IPv6 /48. A handshake
// over it is answered with 429 and Retry-After. A handshake that is admitted
// with an identity gives its address's token back, one with a credential waits,
// for no longer than [LimitHandshakeTime], while others of its address are being
// judged and may do so, and one with a token that was verified before passes by a
// budget of its own: an office behind one address is not locked out.
func LimitHandshakes(key Key, rate Rate) Option {
	return func(d *draft) {
		if !d.limitKey("LimitHandshakes", key) || !d.limitRate("LimitHandshakes", rate, "PerMinute(600)") {
			return
		}
		d.rates = replaceRule(d.rates, key, rateRule{key: key, bucket: bucketOf("handshakes", key), rate: rate.filled()})
	}
}

// LimitConns caps open sessions by key: 64 of one subject, 256 without identity
// from one address and 100,000 in all unless given, and at most 10,000 of any key
// but ByTotal. One more is answered with 429, beyond the total with 503.
func LimitConns(key Key, n int) Option {
	return func(d *draft) {
		if !d.limitKey("LimitConns", key) {
			return
		}
		switch {
		case n == 0:
			d.fault("LimitConns", "0 admits nobody; use 1 or more")
		case n < 0:
			d.fault("LimitConns", "%d is negative; use 1 or more", n)
		case n > sharedStoreCap && key.kind != keyTotal:
			d.fault("LimitConns", "%d by %s is beyond a shared store's %d; use ByTotal", n, keyLabel(key), sharedStoreCap)
		}
		d.caps = replaceRule(d.caps, key, capRule{key: key, bucket: bucketOf("conns", key), n: n})
	}
}

func keyLabel(k Key) string {
	if k.kind == keyIP {
		return "IP"
	}
	return k.name
}

type rateRule struct {
	key    Key
	bucket string
	rate   Rate
}

type capRule struct {
	key    Key
	bucket string
	n      int
}

func (r rateRule) by() Key { return r.key }
func (r capRule) by() Key  { return r.key }

func replaceRule[R interface{ by() Key }](rules []R, key Key, rule R) []R {
	kept := slices.DeleteFunc(slices.Clone(rules), func(r R) bool { return sameKey(r.by(), key) })
	return append(kept, rule)
}

func ruleOf[R interface{ by() Key }](rules []R, kind keyKind) (rule R, ok bool) {
	for _, r := range rules {
		if r.by().kind == kind {
			return r, true
		}
	}
	return rule, false
}

func sameKey(a, b Key) bool { return a.kind == b.kind && a.name == b.name }

func bucketOf(what string, k Key) string {
	if k.kind == keyFunc {
		return what + "." + k.name
	}
	return what
}

// limitKey checks the key of an option that may be given once for each.
func (d *draft) limitKey(option string, k Key) bool {
	switch {
	case k.kind == 0:
		d.fault(option, "the key is empty; use ByIP, BySubject, ByTotal or ByFunc")
		return false
	case k.kind == keyFunc && (k.name == "" || k.fn == nil):
		d.fault(option, "ByFunc lacks its name or function; pass both")
		return false
	case k.kind == keyFunc && slices.ContainsFunc(builtinKeys, func(name string) bool { return strings.EqualFold(name, k.name) }):
		d.fault(option, "ByFunc(%q) has the name of a key of the guard; choose another", k.name)
		return false
	}
	label := fmt.Sprintf("%s/%d/%s", option, k.kind, k.name)
	if d.given[label] {
		d.fault(option, "is given twice for %s; keep one", k.name)
		return false
	}
	d.given[label] = true
	return true
}

func (d *draft) limitRate(option string, r Rate, example string) bool {
	text := r.fault(example)
	if text != "" {
		d.fault(option, "%s", text)
	}
	return text == ""
}

func (d *draft) finishLimits() {
	d.handshakeTime = cmp.Or(d.handshakeTime, defaultHandshakeTime)
	d.replayWindow = cmp.Or(d.replayWindow, defaultReplayWindow)
	if _, ok := ruleOf(d.rates, keyIP); !ok {
		rate := Rate{defaultHandshakesPerMinute, time.Minute, defaultHandshakeBurst}
		d.rates = append(slices.Clip(d.rates), rateRule{key: ByIP(), bucket: "handshakes", rate: rate})
	}
	if _, ok := ruleOf(d.failures, keyIP); !ok {
		d.failures = append(slices.Clip(d.failures), failureRule{key: ByIP(), rate: PerMinute(defaultFailuresPerMinute), ban: defaultBan})
	}
	for _, c := range []capRule{
		{ByIP(), "conns", defaultConnsPerAddress},
		{BySubject(), "conns", defaultConnsPerSubject},
		{ByTotal(), "conns", defaultConnsInAll},
	} {
		if _, ok := ruleOf(d.caps, c.key.kind); !ok {
			d.caps = append(slices.Clip(d.caps), c)
		}
	}
	d.addressRate, _ = ruleOf(d.rates, keyIP)
	d.subjectRate, _ = ruleOf(d.rates, keySubject)
	d.totalRate, _ = ruleOf(d.rates, keyTotal)
	d.addressCap, _ = ruleOf(d.caps, keyIP)
	subjectCap, _ := ruleOf(d.caps, keySubject)
	d.subjectCap = cmp.Or(d.limits.Conns, subjectCap.n)
	totalCap, _ := ruleOf(d.caps, keyTotal)
	d.totalCap = totalCap.n
	d.wideRate = store.Rate(d.addressRate.rate.times(wideBudgetFactor))
	d.finishSession()
}

// retrySoon is Retry-After where the time left is unknown, random so that no
// herd returns at once.
func retrySoon() time.Duration {
	return 5*time.Second + rand.N(10*time.Second)
}

// checkCapacity refuses what the process as a whole has no room for.
func (a *attempt) checkCapacity() error {
	if a.draining.Load() {
		return a.refuseDraining()
	}
	if !a.renews && a.open.Load() >= int64(a.policy.totalCap) {
		return a.refuseFull()
	}
	rule := &a.policy.totalRate
	if rule.rate.N == 0 {
		return nil
	}
	if ok, retry := a.totals.take(rule.rate); !ok {
		a.retryAfter = retry
		return a.refuseSaying(ReasonCapacity, func(a *attempt) (seen, wanted string) {
			rate := a.policy.totalRate.rate
			return "handshakes of all clients", fmt.Sprintf("%d per %s", rate.N, rate.Per)
		})
	}
	return nil
}

// refuseDraining and refuseFull are asked twice: early, where a refusal is cheap,
// and when a place is taken, since others may have come in between.
func (a *attempt) refuseDraining() error {
	a.check = "capacity"
	return a.refuse(ReasonDraining, "a handshake", "none while draining")
}

func (a *attempt) refuseFull() error {
	a.check = "capacity"
	return a.refuseSaying(ReasonCapacity, func(a *attempt) (seen, wanted string) {
		return fmt.Sprintf("%d open sessions", a.open.Load()), fmt.Sprintf("at most %d", a.policy.totalCap)
	})
}
