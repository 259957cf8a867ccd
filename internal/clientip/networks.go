package clientip

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Fault is one mistake in a list of networks or a header name. Its text
// completes a line that starts with the option's name.
type Fault struct {
	Value string // as given; empty when the fault is of the whole list
	Wrong string
	Fix   string
}

// Error gives the line: the value quoted, what is wrong, what to do.
func (f *Fault) Error() string {
	if f.Value == "" {
		return f.Wrong + "; " + f.Fix
	}
	return fmt.Sprintf("%q %s; %s", f.Value, f.Wrong, f.Fix)
}

// Networks is an immutable set of addresses, given as prefixes. A nil Networks
// contains nothing.
type Networks struct {
	prefixes []netip.Prefix // sorted, none inside another
}

// NewNetworks compiles the list of TrustNetworks: prefixes, single addresses,
// and the word "private". It returns every fault of the list, each a *Fault.
func NewNetworks(list ...string) (*Networks, []error) {
	return compile(exemptWords, list)
}

// words are what the two options say differently about the same mistake.
type words struct {
	empty    Fault
	everyone string
	fix      string
}

var (
	exemptWords = words{
		empty:    Fault{Wrong: "no network is given", Fix: `name one, as "198.51.100.0/24" or "private"`},
		everyone: "exempts every client",
		fix:      "name the networks you mean",
	}
	proxyWords = words{
		empty:    Fault{Wrong: "no prefix is given", Fix: `name your proxies' networks, as "10.0.0.0/8" or "private"`},
		everyone: "trusts every client",
		fix:      "name the networks of your proxies",
	}
)

const wordPrivate = "private"

// private is what the word stands for: the ranges of IsPrivate.
var private = []netip.Prefix{
	netip.MustParsePrefix("10.0.0.0/8"),
	netip.MustParsePrefix("172.16.0.0/12"),
	netip.MustParsePrefix("192.168.0.0/16"),
	shared,
	netip.MustParsePrefix("169.254.0.0/16"),
	netip.MustParsePrefix("127.0.0.0/8"),
	netip.MustParsePrefix("::1/128"),
	netip.MustParsePrefix("fc00::/7"),
	netip.MustParsePrefix("fe80::/10"),
}

func compile(w words, list []string) (*Networks, []error) {
	if len(list) == 0 {
		f := w.empty
		return nil, []error{&f}
	}
	var all []netip.Prefix
	var faults []error
	given := make(map[netip.Prefix]string, len(list)) // the zero Prefix for "private"
	for _, s := range list {
		var p netip.Prefix
		if s != wordPrivate {
			var f *Fault
			if p, f = parsePrefix(w, s); f != nil {
				faults = append(faults, f)
				continue
			}
		}
		if first, twice := given[p]; twice {
			faults = append(faults, &Fault{Value: s, Wrong: fmt.Sprintf("repeats %q", first), Fix: "remove one"})
			continue
		}
		given[p] = s
		if s == wordPrivate {
			all = append(all, private...)
			continue
		}
		all = append(all, p)
	}
	if faults != nil {
		return nil, faults
	}
	return newNetworks(all), nil
}

// parsePrefix reads one entry, or says what is wrong with it.
func parsePrefix(w words, s string) (netip.Prefix, *Fault) {
	if a, err := netip.ParseAddr(s); err == nil {
		switch c := canonical(a); {
		case a.Zone() != "":
			return netip.Prefix{}, &Fault{Value: s, Wrong: "has a zone", Fix: fmt.Sprintf("write %q", c.String())}
		case c.IsUnspecified():
			return netip.Prefix{}, &Fault{Value: s, Wrong: "is nobody's address", Fix: w.fix}
		default:
			return netip.PrefixFrom(c, c.BitLen()), nil
		}
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, textFault(w, s)
	}
	if a := p.Addr(); a.Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(a.Unmap(), p.Bits()-96)
	}
	switch {
	case p.Bits() == 0:
		return netip.Prefix{}, &Fault{Value: s, Wrong: w.everyone, Fix: w.fix}
	case tooWide(p):
		return netip.Prefix{}, &Fault{Value: s, Wrong: "is wider than anyone's network", Fix: w.fix}
	case p != p.Masked():
		return netip.Prefix{}, &Fault{Value: s, Wrong: "has bits set beyond its length", Fix: fmt.Sprintf("write %q", p.Masked().String())}
	}
	return p, nil
}

// tooWide catches the two halves that make a whole: nobody runs more than a
// /8 of IPv4, and of IPv6 only the private ranges are wider than a /16.
func tooWide(p netip.Prefix) bool {
	if p.Addr().Is4() {
		return p.Bits() < 8
	}
	return p.Bits() < 7 || p.Bits() < 16 && !IsPrivate(p.Addr())
}

// textFault finds the words for an entry that is neither address nor prefix.
func textFault(w words, s string) *Fault {
	f := &Fault{Value: s, Wrong: "is no IP address or network", Fix: `write one, as "10.0.0.0/8", "10.0.0.1" or "private"`}
	trimmed := strings.TrimSpace(s)
	inside := strings.Trim(s, "[]")
	switch ap, err := netip.ParseAddrPort(s); {
	case s == "":
		f.Wrong, f.Fix = `"" is empty`, w.fix
	case s == "*":
		f.Wrong, f.Fix = w.everyone, w.fix
	case strings.EqualFold(trimmed, wordPrivate):
		f.Fix = `write "private"`
	case strings.ContainsAny(trimmed, ",; \t"):
		f.Wrong, f.Fix = "holds more than one entry", "pass each as a string of its own"
	case trimmed != s:
		f.Wrong = "has a blank around it"
	case err == nil:
		f.Wrong, f.Fix = "has a port", fmt.Sprintf("write %q", canonical(ap.Addr()).String())
	case inside != s:
		if a, err := netip.ParseAddr(inside); err == nil {
			f.Wrong, f.Fix = "has brackets", fmt.Sprintf("write %q", canonical(a).String())
		}
	}
	return f
}

// newNetworks sorts the prefixes and drops those inside others, so that one
// binary search answers: two prefixes either nest or have nothing in common.
func newNetworks(all []netip.Prefix) *Networks {
	slices.SortFunc(all, func(a, b netip.Prefix) int {
		if c := a.Addr().Compare(b.Addr()); c != 0 {
			return c
		}
		return a.Bits() - b.Bits() // the wider first
	})
	n := &Networks{}
	for _, p := range all {
		if k := len(n.prefixes); k > 0 && n.prefixes[k-1].Contains(p.Addr()) {
			continue
		}
		n.prefixes = append(n.prefixes, p)
	}
	return n
}

// Contains says whether a is in the set, whatever form it is written in.
func (n *Networks) Contains(a netip.Addr) bool {
	if n == nil || !a.IsValid() {
		return false
	}
	a = canonical(a)
	// The last prefix that starts at or before a is the only candidate.
	i, exact := slices.BinarySearchFunc(n.prefixes, a, func(p netip.Prefix, a netip.Addr) int {
		return p.Addr().Compare(a)
	})
	if exact {
		return true
	}
	return i > 0 && n.prefixes[i-1].Contains(a)
}

// String lists the prefixes, for posture and tests.
func (n *Networks) String() string {
	if n == nil {
		return ""
	}
	var b strings.Builder
	for i, p := range n.prefixes {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(p.String())
	}
	return b.String()
}
