package origin

import (
	"slices"
	"strings"
)

// Verdict says how an origin stands in a List. The caller needs to know more
// than yes and no: failures behind an origin that only a star admits do not
// count towards a ban.
type Verdict uint8

// The verdicts; the zero value admits nothing.
const (
	None  Verdict = iota // not in the list, or malformed
	Star                 // below a starred name
	Exact                // listed itself
)

// List is an immutable set of origins, each exact or with a star for the first
// label. A nil List matches nothing.
type List struct {
	texts map[string]struct{} // of exact, as browsers write them
	exact map[string][]Origin // by Host
	stars map[Origin]struct{} // Host without "*."
	depth int                 // labels of the longest starred name
}

// NewList compiles patterns such as "https://app.example.com" and
// "https://*.tenant.example.com". "*." stands for one or more whole labels,
// never for the bare domain. It returns every fault of the list; their texts
// complete a line that starts with the option's name.
func NewList(patterns ...string) (*List, []error) {
	if len(patterns) == 0 {
		return nil, []error{fault("the list is empty; name an origin, or leave the option out for same-origin")}
	}
	l := &List{texts: make(map[string]struct{}), exact: make(map[string][]Origin), stars: make(map[Origin]struct{})}
	first := make(map[string]string, len(patterns)) // canonical -> as given
	var faults []error
	for _, p := range patterns {
		o, star, err := parsePattern(p)
		if err != nil {
			faults = append(faults, patternFault(p, err))
			continue
		}
		if given, twice := first[canonical(o, star)]; twice {
			faults = append(faults, repeats(p, given))
			continue
		}
		first[canonical(o, star)] = p
		if !star {
			l.exact[o.Host] = append(l.exact[o.Host], o)
			l.texts[o.String()] = struct{}{}
			continue
		}
		l.stars[o] = struct{}{}
		l.depth = max(l.depth, labels(o.Host))
	}
	if faults != nil {
		return nil, faults
	}
	return l, nil
}

// Match parses an Origin header and looks it up. Malformed text and "null" are
// None. An exact match allocates nothing.
func (l *List) Match(s string) Verdict {
	if l == nil {
		return None
	}
	if _, ok := l.texts[s]; ok {
		return Exact // what parses to a listed origin, without parsing it
	}
	o, err := Parse(s)
	if err != nil {
		return None
	}
	return l.MatchOrigin(o)
}

// MatchOrigin looks up an origin that Parse has made. Its cost is bounded by
// the list: one look-up for each label the longest starred name has.
func (l *List) MatchOrigin(o Origin) Verdict {
	if l == nil {
		return None
	}
	if slices.Contains(l.exact[o.Host], o) {
		return Exact
	}
	for name := range parents(o.Host, l.depth) {
		if _, ok := l.stars[Origin{Scheme: o.Scheme, Host: name, Port: o.Port}]; ok {
			return Star
		}
	}
	return None
}

// Strings gives the list in canonical form, sorted: for posture and tests.
func (l *List) Strings() []string {
	if l == nil {
		return nil
	}
	all := make([]string, 0, len(l.exact)+len(l.stars))
	for text := range l.texts {
		all = append(all, text)
	}
	for o := range l.stars {
		all = append(all, canonical(o, true))
	}
	slices.Sort(all)
	return all
}

// Hosts is an immutable set of Host values, each exact or with a star for the
// first label. A nil Hosts matches nothing.
type Hosts struct {
	exact map[Host]struct{}
	stars map[Host]struct{} // Name without "*."
	depth int
}

// NewHosts compiles patterns such as "ws.example.com", "ws.example.com:8443"
// and "*.example.com". It returns every fault of the list, as NewList does.
func NewHosts(patterns ...string) (*Hosts, []error) {
	if len(patterns) == 0 {
		return nil, []error{fault(`the list is empty; name the hosts you serve, as "ws.example.com"`)}
	}
	type entry struct {
		host Host
		star bool
	}
	h := &Hosts{exact: make(map[Host]struct{}), stars: make(map[Host]struct{})}
	first := make(map[entry]string, len(patterns))
	var faults []error
	for _, p := range patterns {
		host, star, err := parseHostPattern(p)
		if err != nil {
			faults = append(faults, hostFault(p, err))
			continue
		}
		if given, twice := first[entry{host, star}]; twice {
			faults = append(faults, repeats(p, given))
			continue
		}
		first[entry{host, star}] = p
		if !star {
			h.exact[host] = struct{}{}
			continue
		}
		h.stars[host] = struct{}{}
		h.depth = max(h.depth, labels(host.Name))
	}
	if faults != nil {
		return nil, faults
	}
	return h, nil
}

// Match looks up a Host. On either side an absent port means defaultPort: 443
// on TLS, else 80, so that "ws.example.com:443" on TLS is "ws.example.com".
func (h *Hosts) Match(host Host, defaultPort uint16) bool {
	if h == nil {
		return false
	}
	if host.Port == 0 {
		host.Port = defaultPort
	}
	if has(h.exact, host, defaultPort) {
		return true
	}
	for name := range parents(host.Name, h.depth) {
		if has(h.stars, Host{Name: name, Port: host.Port}, defaultPort) {
			return true
		}
	}
	return false
}

// has looks up host as written with its port, and without one where that port
// is the default.
func has(set map[Host]struct{}, host Host, defaultPort uint16) bool {
	if _, ok := set[host]; ok {
		return true
	}
	if host.Port != defaultPort {
		return false
	}
	_, ok := set[Host{Name: host.Name}]
	return ok
}

// parents yields the names above name, the shortest first, of at most depth
// labels. name itself is not among them: a star never means the bare domain.
// It walks from the right, so that a hundred labels of an attacker cost no
// more than the list's own depth.
func parents(name string, depth int) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		end := len(name)
		for range depth {
			end = strings.LastIndexByte(name[:end], '.')
			if end < 0 || !yield(name[end+1:]) {
				return
			}
		}
	}
}

// labels counts the labels of a canonical name.
func labels(name string) int { return strings.Count(name, ".") + 1 }

// canonical writes a compiled pattern back as text.
func canonical(o Origin, star bool) string {
	if star {
		o.Host = "*." + o.Host
	}
	return o.String()
}
