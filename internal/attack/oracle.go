package attack

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/wssecure/wssecure/internal/quote"
)

// oracle compares the answers to tokens that are bad in different ways. What differs between two answers to the same kind
// of token, such as dates and random ids, is no sign.
func oracle(ctx context.Context, t *Target) Verdict {
	j := t.jwt()
	type kind struct {
		name string
		make func() string
	}
	kinds := []kind{
		{"a bad signature", func() string { return j.parts[0] + "." + j.parts[1] + "." + flipped(j.parts[2]) }},
		{"an unknown kid", func() string {
			return j.header.with(members{"kid": canary()}).segment() + "." + j.parts[1] + "." + j.parts[2]
		}},
		{"alg none", func() string {
			return j.header.with(members{"alg": "none"}).segment() + "." + j.parts[1] + "."
		}},
	}
	if t.Sign != nil {
		signed := func(claims members) func() string {
			return func() string {
				token, _ := t.signed(nil, claims)
				return token
			}
		}
		kinds = append(kinds,
			kind{"an old exp", signed(members{"exp": time.Now().Add(-time.Hour).Unix()})},
			kind{"another audience", signed(members{"aud": "another"})},
			kind{"another issuer", signed(members{"iss": "https://another.example"})},
		)
	}
	ask := func(k kind) (face, answer) {
		token := k.make()
		t.hide(token)
		a := t.askTwice(ctx, t.with(token))
		return faceOf(a), a
	}
	first, a := ask(kinds[0])
	if a.response == nil || a.admitted() || a.busy() {
		return unclear(kinds[0].name, t.got(a), "there was no refusal to look at")
	}
	again, _ := ask(kinds[0])
	first.forget(again)
	for _, k := range kinds[1:] {
		other, a := ask(k)
		if a.busy() {
			return unclear(k.name, t.got(a), "the server was busy")
		}
		if sign := first.differs(other); sign != "" {
			return broken(kinds[0].name+", then "+k.name, quote.Cut(t.redact(sign), longestGot), "the answers tell them apart")
		}
	}
	return held(fmt.Sprintf("%d kinds of bad tokens", len(kinds)), t.got(a))
}

// A face is all of an answer that a client can see, by part.
type face map[string]string

func faceOf(a answer) face {
	if a.response == nil {
		return face{"status": "none"}
	}
	f := face{"status": a.response.StatusLine, "body": string(a.response.Body), "length": fmt.Sprint(len(a.response.Body)), "end": a.after.plain()}
	for _, h := range a.response.Header {
		f["header "+strings.ToLower(h.Name)] += h.Value + "\n"
	}
	return f
}

// forget drops what two answers of one kind do not have in common.
func (f face) forget(again face) {
	for part, value := range f {
		if again[part] != value {
			f[part] = vary
		}
	}
	if f["header date"] != "" {
		f["header date"] = vary
	}
}

// vary stands for a part that is never the same.
const vary = "\x00"

func (f face) differs(other face) string {
	var parts []string
	for part := range f {
		parts = append(parts, part)
	}
	for part := range other {
		if _, known := f[part]; !known {
			return "only the second has " + part
		}
	}
	slices.Sort(parts)
	for _, part := range parts {
		value, ok := other[part]
		switch {
		case !ok:
			return "only the first has " + part
		case f[part] != vary && f[part] != value:
			return fmt.Sprintf("%s: %s, then %s", part, f[part], value)
		}
	}
	return ""
}
