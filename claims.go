package wssecure

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// RequireScopes admits only tokens that carry every one of the scopes, in scope
// or scp (RFC 6749 section 3.3): whole words, exact case.
func RequireScopes(scopes ...string) Option {
	return func(d *draft) {
		if len(scopes) == 0 {
			d.fault("RequireScopes", "the list is empty; name the scopes that admit")
		}
		for _, s := range scopes {
			switch {
			case s == "":
				d.fault("RequireScopes", `"" is no scope; write one such as "chat"`)
			case strings.ContainsAny(s, " \t"):
				d.fault("RequireScopes", "%q contains a blank; pass %s", s, quoteEach(strings.Fields(s)))
			}
		}
		d.needsToken = append(slices.Clip(d.needsToken), "RequireScopes")
		d.scopes = append(slices.Clip(d.scopes), scopes...)
	}
}

func quoteEach(words []string) string {
	for i, w := range words {
		words[i] = fmt.Sprintf("%q", w)
	}
	return strings.Join(words, ", ")
}

// RequireClaim admits only tokens whose claim is, or has in its list, one of the
// values. A name that begins with a slash is a JSON Pointer (RFC 6901), as
// "/realm_access/roles"; any other names a claim exactly. Values compare as
// text, so "true" matches the boolean.
func RequireClaim(nameOrPointer string, anyOf ...string) Option {
	return func(d *draft) {
		d.needsToken = append(slices.Clip(d.needsToken), "RequireClaim")
		path, fix := parseClaimPath(nameOrPointer)
		switch {
		case nameOrPointer == "":
			d.fault("RequireClaim", `"" is no claim; name one such as "role"`)
		case fix != "":
			d.fault("RequireClaim", "%q is no JSON Pointer; write %q for a tilde", nameOrPointer, fix)
		}
		if len(anyOf) == 0 {
			d.fault("RequireClaim", "%q has no values; name those that admit", nameOrPointer)
		}
		for _, v := range anyOf {
			if v == "" {
				d.fault("RequireClaim", "%q has an empty value; name those that admit", nameOrPointer)
			}
		}
		d.claims = append(slices.Clip(d.claims), claimRule{nameOrPointer, path, anyOf})
	}
}

type claimRule struct {
	name  string
	path  []string
	anyOf []string
}

// checkScopes is RFC 6750 section 3.1, insufficient_scope.
func (a *attempt) checkScopes() error {
	if len(a.policy.scopes) == 0 || a.identity == nil {
		return nil
	}
	for _, want := range a.policy.scopes {
		if !slices.Contains(a.identity.Scopes, want) {
			return a.refuse(ReasonScope, strings.Join(a.identity.Scopes, " "), strings.Join(a.policy.scopes, " "))
		}
	}
	return nil
}

func (a *attempt) checkClaims() error {
	if a.identity == nil {
		return nil
	}
	for i := range a.policy.claims {
		rule := &a.policy.claims[i]
		if !rule.holds(a.identity.Claims) {
			return a.refuse(ReasonForbidden, "claim "+rule.name+" has none of the values", strings.Join(rule.anyOf, " or "))
		}
	}
	return nil
}

// lacking is checkAuthLevel, checkScopes and checkClaims for a session whose
// identity changes: the reason of the condition that id does not meet, "" when it
// meets all. How long ago the person logged in counted at the handshake: asked
// again, it would end every session at that age.
func (p *policy) lacking(id *Identity) Reason {
	if len(p.level.acr) > 0 && !slices.Contains(p.level.acr, id.ACR) {
		return ReasonAuthLevel
	}
	for _, want := range p.scopes {
		if !slices.Contains(id.Scopes, want) {
			return ReasonScope
		}
	}
	for i := range p.claims {
		if !p.claims[i].holds(id.Claims) {
			return ReasonForbidden
		}
	}
	return ""
}

// parseClaimPath splits a JSON Pointer into its members; fix is the pointer as
// it should be written when an escape is broken.
func parseClaimPath(s string) (path []string, fix string) {
	if !strings.HasPrefix(s, "/") {
		return []string{s}, ""
	}
	for part := range strings.SplitSeq(s[1:], "/") {
		for i := 0; i < len(part); i++ {
			if part[i] != '~' {
				continue
			}
			if i+1 == len(part) || part[i+1] != '0' && part[i+1] != '1' {
				return nil, mendTildes(s)
			}
			i++
		}
		path = append(path, strings.NewReplacer("~1", "/", "~0", "~").Replace(part))
	}
	return path, ""
}

func mendTildes(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		b.WriteByte(s[i])
		if s[i] == '~' && (i+1 == len(s) || s[i+1] != '0' && s[i+1] != '1') {
			b.WriteByte('0')
		}
	}
	return b.String()
}

func (r *claimRule) holds(claims map[string]any) bool {
	var value any = claims
	for _, member := range r.path {
		switch v := value.(type) {
		case map[string]any:
			next, ok := v[member]
			if !ok {
				return false
			}
			value = next
		case []any:
			i, ok := index(member, len(v))
			if !ok {
				return false
			}
			value = v[i]
		default:
			return false
		}
	}
	switch v := value.(type) {
	case []any:
		return slices.ContainsFunc(v, r.admits)
	case []string:
		return slices.ContainsFunc(v, func(s string) bool { return slices.Contains(r.anyOf, s) })
	default:
		return r.admits(value)
	}
}

// index reads an array index of RFC 6901: digits without a leading zero.
func index(s string, n int) (int, bool) {
	if s == "" || len(s) > 4 || s[0] == '0' && s != "0" {
		return 0, false
	}
	i := 0
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return 0, false
		}
		i = i*10 + int(c-'0')
	}
	return i, i < n
}

func (r *claimRule) admits(value any) bool {
	switch v := value.(type) {
	case string:
		return slices.Contains(r.anyOf, v)
	case json.Number:
		return slices.Contains(r.anyOf, v.String())
	case bool, int, int64, float64:
		return slices.Contains(r.anyOf, fmt.Sprint(v))
	}
	return false
}
