package scan

import (
	"cmp"
	"net/url"
	"slices"
	"strings"

	"github.com/wssecure/wssecure/internal/quote"
)

// shortestSecret is what may be shown of a token's beginning: every JWT begins with some of it.
const shortestSecret = 12

// hidden are the texts that no report shows, the longest first.
type hidden []string

// hide makes them of the token, its parts and what the URL's query holds, in each spelling in which a request carries them or
// a report would quote them.
func hide(token string, query []string) hidden {
	secrets := append(slices.Clone(query), token)
	for part := range strings.SplitSeq(token, ".") {
		if len(part) >= shortestSecret {
			secrets = append(secrets, part)
		}
	}
	var all hidden
	for _, s := range secrets {
		for _, spelling := range []string{s, url.QueryEscape(s)} {
			all = append(all, spelling, quote.Cut(spelling, 6*len(spelling)))
		}
	}
	all = slices.DeleteFunc(all, func(s string) bool { return s == "" })
	slices.SortFunc(all, func(a, b string) int { return cmp.Or(len(b)-len(a), strings.Compare(a, b)) })
	return slices.Compact(all)
}

// redact takes them out of a text, also where a cut has left only the beginning.
func (h hidden) redact(text string) string {
	for _, secret := range h {
		for n := len(secret); n > 0 && (n == len(secret) || n >= shortestSecret); n-- {
			text = strings.ReplaceAll(text, secret[:n], "<secret>")
		}
	}
	return text
}
