package store

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Rule names what a store decides, each of which may have a policy of its own for the time that a Node is cut off.
type Rule uint8

// Rules, and what holds for them unless OnError says otherwise.
const (
	RuleRate       Rule = iota + 1 // Local: this node's share of the rate
	RuleCap                        // Local: this node's share of the cap
	RuleTicket                     // Deny, always: a redeem that timed out counts as used
	RuleLogout                     // Deny, always
	RuleReplay                     // Local: a handshake key is no credential
	RuleBan                        // Local: the bans that the feed has told of
	RuleRevocation                 // Local, and Deny once the feed is older than MaxStale
)

func (r Rule) String() string {
	names := [...]string{"", "rate", "cap", "ticket", "logout", "replay", "ban", "revocation"}
	if int(r) < len(names) && r > 0 {
		return names[r]
	}
	return "unknown rule"
}

// Policy is what a Node does about a rule while its shared store is away.
type Policy uint8

// Policies.
const (
	Local Policy = iota + 1 // decides by what this node knows
	Deny                    // decides nothing: the operation has ErrUnavailable
	Close                   // Deny, and the guard ends open sessions when Deadline has passed
	Allow                   // admits: for those who would rather have an attacker than an outage
)

func (p Policy) String() string {
	names := [...]string{"", "local", "deny", "close", "allow"}
	if int(p) < len(names) && p > 0 {
		return names[p]
	}
	return "unknown policy"
}

// allowed lists what each rule may be set to.
var allowed = [...][]Policy{
	RuleRate:       {Local, Deny, Allow},
	RuleCap:        {Local, Deny, Close, Allow},
	RuleTicket:     {Deny},
	RuleLogout:     {Deny},
	RuleReplay:     {Local, Deny},
	RuleBan:        {Local, Deny},
	RuleRevocation: {Local, Deny, Close},
}

// NodeOption changes how a Node behaves while its shared store is away.
type NodeOption func(*Node)

// OnError says what happens to a rule while the shared store is away, or, of a rate, a cap or a ban, to the named keys of
// it: "ip", "subject", or the name of a ByFunc. What ByTotal counts never leaves the process.
func OnError(rule Rule, policy Policy, keys ...string) NodeOption {
	return func(n *Node) {
		switch {
		case rule == 0 || int(rule) >= len(allowed):
			n.fault("OnError: rule %d is unknown; use RuleRate, RuleCap, RuleReplay, RuleBan or RuleRevocation", rule)
		case !slices.Contains(allowed[rule], policy):
			n.fault("OnError: %s cannot be %s; use %s", rule, policy, listed(allowed[rule]))
		case len(keys) > 0 && rule != RuleRate && rule != RuleCap && rule != RuleBan:
			n.fault("OnError: %s has no keys to tell apart; leave %q out", rule, keys[0])
		case slices.Contains(keys, ""):
			n.fault("OnError: a key of %s is empty; name it, or leave it out for all", rule)
		case slices.ContainsFunc(keys, isNoKey):
			key := keys[slices.IndexFunc(keys, isNoKey)]
			n.fault("OnError: %q is no key of %s; use \"ip\", \"subject\" or the name of a ByFunc", key, rule)
		default:
			n.policies.set(rule, policy, keys, n.fault)
		}
	}
}

// isNoKey reports names that no ByFunc can have: those of the other keys, or nearly so.
func isNoKey(name string) bool {
	return name != "ip" && name != "subject" &&
		(strings.EqualFold(name, "ip") || strings.EqualFold(name, "subject") || strings.EqualFold(name, "total"))
}

// MaxStale is how old the feed may be while the shared store is away before credentials are refused: 60 seconds unless
// given, at most an hour.
func MaxStale(d time.Duration) NodeOption {
	return func(n *Node) {
		if d < time.Second || d > longestStale {
			n.fault("MaxStale: %s is out of range; use 1s to %s", d, longestStale)
			return
		}
		if n.maxStale != 0 {
			n.fault("MaxStale: is given twice; keep one")
			return
		}
		n.maxStale = d
	}
}

const (
	defaultStale = time.Minute
	longestStale = time.Hour
)

func (n *Node) fault(format string, args ...any) {
	n.faults = append(n.faults, fmt.Errorf(format, args...))
}

// listed is "local, deny or close".
func listed(policies []Policy) string {
	last := len(policies) - 1
	text := policies[last].String()
	for i := last - 1; i >= 0; i-- {
		between := ", "
		if i == last-1 {
			between = " or "
		}
		text = policies[i].String() + between + text
	}
	return text
}

// Override is one OnError as it was given.
type Override struct {
	Rule   Rule
	Policy Policy
	Keys   []string // none: all
}

// policies holds what OnError said.
type policies struct {
	given []Override
	rules [len(allowed)]Policy
	keys  map[keyRule]Policy
}

type keyRule struct {
	rule Rule
	key  string
}

func (p *policies) set(rule Rule, policy Policy, keys []string, fault func(string, ...any)) {
	p.given = append(p.given, Override{rule, policy, slices.Clone(keys)})
	if len(keys) == 0 {
		if p.rules[rule] != 0 {
			fault("OnError: %s is given twice; keep one", rule)
		}
		p.rules[rule] = policy
		return
	}
	if p.keys == nil {
		p.keys = make(map[keyRule]Policy)
	}
	for _, key := range keys {
		if p.keys[keyRule{rule, key}] != 0 {
			fault("OnError: %s of %q is given twice; keep one", rule, key)
		}
		p.keys[keyRule{rule, key}] = policy
	}
}

// of is the policy of a rule for a key.
func (p *policies) of(rule Rule, k Key) Policy {
	if p.keys != nil {
		if policy := p.keys[keyRule{rule, k.rule()}]; policy != 0 {
			return policy
		}
	}
	if policy := p.rules[rule]; policy != 0 {
		return policy
	}
	return allowed[rule][0] // the default stands first
}

// closes reports whether any key of a rule has the policy Close.
func (p *policies) closes(rule Rule) bool {
	if p.rules[rule] == Close {
		return true
	}
	for k, policy := range p.keys {
		if k.rule == rule && policy == Close {
			return true
		}
	}
	return false
}

// rule is the name under which OnError knows a key.
func (k Key) rule() string {
	switch k.Kind {
	case KeyIP, KeyNetwork:
		return "ip"
	case KeySubject:
		return "subject"
	case KeyCustom:
		size, rest, ok := strings.Cut(k.ID, ":")
		if n, err := strconv.Atoi(size); ok && err == nil && n >= 0 && n <= len(rest) {
			return rest[:n]
		}
	}
	return ""
}

// ErrUnavailable answers what could not be decided while the shared store is away: refuse.
var ErrUnavailable = errors.New("store: the shared store is away")

// ErrSkipped answers an operation that was not sent, because this node already knows that another one of its batch is
// refused. It has not happened. A batch of nothing but questions for bans and marks is not skipped.
var ErrSkipped = errors.New("store: not asked, since another operation of the batch is refused")

// denials are ErrUnavailable by rule, made once.
var denials = func() (all [len(allowed)]error) {
	for r := range all {
		all[r] = fmt.Errorf("%w, and the policy of its rule %q is deny", ErrUnavailable, Rule(r))
	}
	return all
}()

var errStale = fmt.Errorf("%w, and what is known of revocations is too old", ErrUnavailable)
