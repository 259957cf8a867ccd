package wssecure

import (
	"fmt"
	"slices"
	"strings"
)

const (
	mostSubprotocols     = 32
	subprotocolBytes     = 8 << 10 // beside one token
	longestExtensionLine = 8 << 10
)

// AllowSubprotocols names the subprotocols that the server speaks, in its order
// of preference; the answer names the first that was offered, compared exactly
// (RFC 6455 section 4.2.2).
func AllowSubprotocols(names ...string) Option {
	return func(d *draft) {
		if !d.once("AllowSubprotocols") {
			return
		}
		if len(names) == 0 {
			d.fault("AllowSubprotocols", "the list is empty; name those you speak, or leave the option out")
		}
		for i, n := range names {
			switch {
			case n == "":
				d.fault("AllowSubprotocols", `"" is not a token; write a name such as "chat"`)
			case !isToken(n):
				d.fault("AllowSubprotocols", "%q is not a token; write it without blanks, as %q", n, mendToken(n))
			case slices.Contains(names[:i], n):
				d.fault("AllowSubprotocols", "%q is given twice; remove one", n)
			}
		}
		d.subprotocols = slices.Clone(names)
	}
}

// RequireSubprotocol refuses a handshake that offers none of
// [AllowSubprotocols].
func RequireSubprotocol() Option {
	return func(d *draft) {
		if d.once("RequireSubprotocol") {
			d.requireSubprotocol = true
		}
	}
}

// checkSubprotocols reads the offer (RFC 6455 section 11.3.4), takes a
// credential out of it and chooses by the guard's own order.
func (a *attempt) checkSubprotocols() error {
	lines := a.r.Header[headerWSProtocol]
	names, fault := parseSubprotocols(lines, subprotocolBytes+a.policy.tokenSize)
	if fault != "" {
		return a.refuse(ReasonSubprotocol, fault, "a list of distinct tokens")
	}
	a.creds.read(a, names)
	for _, want := range a.policy.subprotocols {
		for _, have := range a.offered {
			if want == have {
				a.chosen = want
				return nil
			}
		}
	}
	if a.policy.requireSubprotocol {
		return a.refuse(ReasonSubprotocol, fmt.Sprintf("%d other names", len(a.offered)), "one of "+strings.Join(a.policy.subprotocols, ", "))
	}
	return nil
}

// parseSubprotocols returns the offered names in order, or what is wrong with
// them: by their place, since any of them may be a credential. It is linear in
// the bytes, which are bounded.
func parseSubprotocols(lines []string, most int) (names []string, fault string) {
	if len(lines) == 0 {
		return nil, ""
	}
	size := 0
	for _, line := range lines {
		size += len(line)
	}
	if size > most {
		return nil, "too many bytes"
	}
	for _, line := range lines {
		for element := range strings.SplitSeq(line, ",") {
			name := trimBoth(element)
			if !isToken(name) {
				return nil, fmt.Sprintf("name %d is no token", len(names)+1)
			}
			if len(names) == mostSubprotocols {
				return nil, "too many names"
			}
			if slices.Contains(names, name) {
				return nil, fmt.Sprintf("name %d is there before", len(names)+1)
			}
			names = append(names, name)
		}
	}
	return names, ""
}

func mendToken(s string) string {
	return strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r > 0x7f || !isTokenByte(byte(r)) }), ".")
}
