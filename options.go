package wssecure

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// An Option states one part of a guard's policy. Its verb says which kind:
//
//   - Allow widens a closed default,
//   - Require adds a condition, all of which must hold,
//   - Limit caps a quantity that always has a default,
//   - Set changes what is sent or used,
//   - Trust names a party that is believed,
//   - On hooks a function in,
//   - Insecure removes a protection and takes the reason why.
//
// The order of options never matters, and the same option twice is an error.
// No zero, nil, negative or empty value turns a check off.
type Option func(*draft)

// Options joins several options into one, so that a team can keep its policy in
// one place.
func Options(opts ...Option) Option {
	return func(d *draft) { d.apply(opts) }
}

// Defaults, each listed with its reason in docs/defaults.md.
const (
	defaultHandshakesPerMinute = 600
	defaultHandshakeBurst      = 300
	wideBudgetFactor           = 16 // an IPv6 /48 has this many times the budget of a /64
	refusedOriginsPerMinute    = 1200
	defaultFailuresPerMinute   = 20
	defaultBan                 = time.Minute
	longestBan                 = time.Hour

	defaultConnsPerAddress = 256
	defaultConnsPerSubject = 64
	defaultConnsInAll      = 100_000
	sharedStoreCap         = 10_000 // leases of one key that a shared store can count
	slowStoreCap           = 1_000  // beyond, New warns

	defaultAcceptsPerSecond = 50
	defaultAcceptBurst      = 500

	defaultMessageSize       = 64 << 10
	defaultMessagesPerSecond = 60
	defaultMessageBurst      = 120
	defaultBytesPerSecond    = 1 << 20
	defaultByteBurst         = 4 << 20
	defaultControlsPerSecond = 10
	defaultControlBurst      = 20
	defaultFragments         = 1024
	defaultMessageTime       = 30 * time.Second
	defaultLifetime          = 24 * time.Hour
	defaultPing              = 25 * time.Second
	defaultPong              = 45 * time.Second
	defaultWrite             = 30 * time.Second

	defaultHandshakeTime = 10 * time.Second
	defaultReplayWindow  = 5 * time.Minute
	overdueCalls         = 1024 // calls of one user function that may be past their deadline

	mostWaiting           = 10_000 // handshakes that wait for others of their address
	mostWaitingPerAddress = 5_000

	defaultSkew      = 30 * time.Second
	defaultTokenSize = 8 << 10

	defaultIntrospectEvery = 5 * time.Minute // open sessions of introspected tokens
	defaultTicket          = 30 * time.Second

	defaultTicketsPerSubject = 64 // a minute, unless it may have more sessions

	defaultHSTS = "max-age=31536000"

	lateMessageSize     = 8 << 10
	lateMessages        = 10
	lateBytes           = 512 << 10
	lateConnsPerAddress = 64

	defaultDrain = 30 * time.Second       // without a deadline, and of a server that Harden has seen
	serveDrain   = 20 * time.Second       // of Serve: with the notice below what orchestrators grant, 30 s
	drainNotice  = 3 * time.Second        // in which load balancers see Ready fail
	drainTick    = 10 * time.Millisecond  // sessions that are due within it are told together
	lastWords    = 250 * time.Millisecond // for the close frames at the end of a drain
)

// draft is a policy in the making: options write into it, New and With finish it.
type draft struct {
	policy
	child  bool
	given  map[string]bool
	faults []error
}

func (d *draft) apply(opts []Option) {
	for i, opt := range opts {
		if opt == nil {
			d.fault("New", "option %d is nil; remove it", i+1)
			continue
		}
		opt(d)
	}
}

// fault records one configuration error: the option, the value and what is
// wrong with it, and the fix.
func (d *draft) fault(option, format string, args ...any) {
	d.faults = append(d.faults, configError(option, fmt.Sprintf(format, args...)))
}

func (d *draft) faultErrs(option string, errs []error) {
	for _, err := range errs {
		d.faults = append(d.faults, configError(option, err.Error()))
	}
}

func configError(option, text string) error {
	return errors.New(option + ": " + text)
}

// once notes that the option was given and reports whether it was the first
// time.
func (d *draft) once(option string) bool {
	if d.given[option] {
		fix := "keep one"
		switch option {
		case "RequireToken":
			fix = "join the verifiers with AnyOf"
		case "TrustProxies":
			fix = "keep the header your proxies set"
		}
		d.fault(option, "is given twice; %s", fix)
		return false
	}
	d.given[option] = true
	return true
}

// processWide is once for what cannot differ between routes of one server.
func (d *draft) processWide(option string) bool {
	if d.child {
		d.fault(option, "cannot differ between routes; move it from With to New")
		return false
	}
	return d.once(option)
}

// insecure notes that a protection is removed; the reason is logged at start.
func (d *draft) insecure(option, why string) bool {
	if !d.once(option) {
		return false
	}
	if strings.TrimSpace(why) == "" {
		d.fault(option, "the reason is empty; say why in a few words")
		return false
	}
	d.holes = append(slices.Clip(d.holes), hole{option, why})
	return true
}

// hole is a protection that an Insecure option or TrustNetworks removed.
type hole struct{ option, why string }

// fill forgets the holes of options that another one has replaced.
func (d *draft) fill(options ...string) {
	d.holes = slices.DeleteFunc(slices.Clone(d.holes), func(h hole) bool { return slices.Contains(options, h.option) })
}

// finish settles what needs the whole set of options and derives what every
// request looks up. It leaves the faults of the draft complete.
func (d *draft) finish() {
	d.finishOrigins()
	d.finishHosts()
	d.finishAuth()
	d.finishLimits()
	d.finishLateToken()
	d.finishExpiry()
	d.finishHeaders()
	d.finishTLS()
	d.finishStore()
	d.finishHandshake()
}

func (d *draft) err() error { return errors.Join(d.faults...) }
