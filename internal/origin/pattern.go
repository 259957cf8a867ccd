package origin

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// A mistake in a list is made once, by a developer who waits for an answer.
// Here every one of them is told apart and answered with the text to write,
// where a request's text only ever hears no. Whether an entry is accepted is
// decided before, by the parse functions; the words below never admit.

// fault is a finished line about a list, without the option's name before it.
type fault string

func (f fault) Error() string { return string(f) }

// about composes a line: the value, what is wrong with it, what to do.
func about(value, wrong, fix string) error {
	return fault(fmt.Sprintf("%q %s; %s", value, wrong, fix))
}

func repeats(p, given string) error {
	return about(p, fmt.Sprintf("repeats %q", given), "remove one")
}

// The entries that a fix names when the developer's own cannot be mended.
const (
	exampleOrigin = "https://app.example.com"
	exampleStar   = "https://*.example.com"
	examplePublic = "https://ws.example.com"
	exampleHost   = "ws.example.com"
)

// errPattern is a star or a scheme that the grammar passes and a list must not.
var errPattern = errors.New("not fit for a list")

// parsePattern reads one entry of AllowOrigins. With star, Host is what stands
// after "*.".
func parsePattern(p string) (o Origin, star bool, err error) {
	scheme, rest, _ := strings.Cut(p, "://")
	name, star := strings.CutPrefix(rest, "*.")
	o, err = Parse(scheme + "://" + name)
	if err == nil && (schemeFault(scheme) != "" || star && (!isWebScheme(scheme) || !starrable(o.Host))) {
		err = errPattern
	}
	return o, star, err
}

// parsePublic reads the one entry of SetPublicURL.
func parsePublic(s string) (Origin, error) {
	o, err := Parse(s)
	if err == nil && !isWebScheme(o.Scheme) {
		err = errPattern
	}
	return o, err
}

// parseHostPattern reads one entry of AllowHosts. With star, Name is what
// stands after "*.".
func parseHostPattern(p string) (h Host, star bool, err error) {
	name, star := strings.CutPrefix(p, "*.")
	h, err = ParseHost(name)
	if err == nil && star && !starrable(h.Name) {
		err = errPattern
	}
	return h, star, err
}

// starrable says whether a star may stand before name: two labels at least,
// and room for a third.
func starrable(name string) bool {
	return labels(strings.TrimSuffix(name, ".")) >= 2 && !isIP(name) && len(name)+len("a.") <= maxName
}

// ParsePublic reads the address under which this server is known, such as
// "https://ws.example.com". The error completes a line that starts with
// "SetPublicURL: ".
func ParsePublic(s string) (Origin, error) {
	o, err := parsePublic(s)
	if err != nil {
		return Origin{}, publicFault(s, err)
	}
	return o, nil
}

// patternFault finds the words for an entry of AllowOrigins that was refused
// with err.
func patternFault(p string, err error) error {
	instead := write(mendOrigin(p))
	if wrong, fix := textFault(p); wrong != "" {
		return about(p, wrong, cmp.Or(fix, instead))
	}
	if strings.EqualFold(p, "null") {
		return about(p, "is shared by sandboxed pages", "use InsecureAllowNullOrigin")
	}
	scheme, rest, found := strings.Cut(p, "://")
	host, _, _ := strings.Cut(rest, ":")
	if p == "*" || host == "*" && (isWebScheme(scheme) || scheme == "*") {
		return about(p, "matches every site", "list the origins, or use InsecureAllowAnyOrigin")
	}
	if !found {
		return about(p, unschemed(p), instead)
	}
	if wrong := schemeFault(scheme); wrong != "" {
		return about(p, wrong, instead)
	}
	if wrong, fix := starFault(scheme, rest); wrong != "" {
		return about(p, wrong, fix)
	}
	return about(p, authorityFault(strings.TrimPrefix(rest, "*."), err), instead)
}

// publicFault is patternFault for SetPublicURL.
func publicFault(s string, err error) error {
	instead := write(mendPublic(s))
	if wrong, fix := textFault(s); wrong != "" {
		return about(s, wrong, cmp.Or(fix, instead))
	}
	scheme, rest, found := strings.Cut(s, "://")
	switch {
	case !found:
		return about(s, unschemed(s), instead)
	case !isWebScheme(scheme):
		return about(s, "has a scheme other than https and http", instead)
	case strings.Contains(rest, "*"):
		return about(s, "has a star", `write the one name clients use, as "`+examplePublic+`"`)
	}
	return about(s, authorityFault(rest, err), instead)
}

// hostFault is patternFault for AllowHosts.
func hostFault(p string, err error) error {
	instead := write(mendHost(p))
	if wrong, fix := textFault(p); wrong != "" {
		return about(p, wrong, cmp.Or(fix, instead))
	}
	if strings.Contains(p, "://") {
		return about(p, "has a scheme", instead)
	}
	if host, _, _ := strings.Cut(p, ":"); host == "*" {
		return about(p, "matches every host", "name the hosts you serve, or leave the option out")
	}
	if wrong, fix := starFault("https", p); wrong != "" {
		return about(p, wrong, strings.ReplaceAll(fix, "https://", ""))
	}
	return about(p, authorityFault(strings.TrimPrefix(p, "*."), err), instead)
}

// textFault finds what is wrong with the text before it means anything. Where
// the mended entry is not the cure, fix says what is.
func textFault(s string) (wrong, fix string) {
	if s == "" {
		return "is empty", ""
	}
	for i := range len(s) {
		if s[i] >= 0x80 {
			return "is not ASCII", "write its xn-- form"
		}
	}
	if strings.ContainsAny(s, ",;|") || strings.Count(s, "://") > 1 {
		return "holds more than one entry", "pass each as a string of its own"
	}
	if strings.Trim(s, `"'`+"`") != s {
		return "has quotes around it", ""
	}
	if strings.TrimSpace(s) != s {
		return "has a blank around it", ""
	}
	for i := range len(s) {
		switch {
		case s[i] == ' ' || s[i] == '\t':
			return "contains a blank", ""
		case s[i] < 0x20 || s[i] == 0x7F:
			return "contains a control character", ""
		}
	}
	if len(s) > maxOrigin {
		return "is longer than 300 bytes", ""
	}
	return "", ""
}

// unschemed tells a missing scheme from one that is there and badly joined, as
// in "https:app.example.com", which URL parsers mend and so may mislead.
func unschemed(s string) string {
	if badlyJoined(s) != "" {
		return "is not of the form scheme://host"
	}
	return "has no scheme"
}

// schemeFault speaks about schemes that can stand in no Origin.
func schemeFault(scheme string) string {
	switch lower(scheme) {
	case "ws", "wss", "ftp", "ftps", "blob", "mailto", "tcp", "tls":
		return "has a scheme no page has"
	case "file", "data", "about", "javascript":
		return `has a scheme whose pages send "null"`
	case "":
		return "has no scheme"
	case "*":
		return "has a star for a scheme"
	}
	if !isScheme(scheme) {
		return "has a malformed scheme"
	}
	return ""
}

// starFault holds the star of an entry, if it has one, to its rules: a whole
// first label, a web scheme, and at least two labels of a name after it.
func starFault(scheme, rest string) (wrong, fix string) {
	// A path or userinfo beside the star is the mistake to name first.
	if !strings.Contains(rest, "*") || strings.ContainsAny(rest, beyondAuthority) {
		return "", ""
	}
	host, port := splitPort(rest)
	name, whole := strings.CutPrefix(host, "*.")
	switch {
	case port == "*" && !strings.Contains(host, "*"):
		return "has a star for a port", "list each port"
	case !isWebScheme(scheme):
		return "has a star under a scheme other than https and http", "list each name whole"
	case !whole || strings.Contains(name, "*"):
		wrong = "has a star that is no whole first label"
		// "*example.com" has one likely meaning. "app-*.example.com" has
		// not: a wider star would admit strangers on a shared domain.
		tail := strings.TrimLeft(host, "*.")
		mended := scheme + "://*." + rest[len(host)-len(tail):]
		o, star, err := parsePattern(mended)
		if err == nil && strings.HasPrefix(host, "*") && !strings.ContainsAny(tail[:1], "-_") {
			return wrong, write(canonical(o, star))
		}
		return wrong, `list each name, or write a whole label, as "` + exampleStar + `"`
	case isDottedQuad(name) || strings.HasPrefix(name, "["):
		return "has a star before an IP address", "list each address"
	case labels(strings.Trim(name, ".")) < 2:
		return "has fewer than two labels after the star", write(exampleStar)
	}
	return "", ""
}

// beyondAuthority is what stands around or inside an authority in a URL, and
// in an Origin or Host never.
const beyondAuthority = `/?#\@%`

// authorityFault finds the words for host and port that the parser refused
// with err.
func authorityFault(s string, err error) string {
	if i := strings.IndexAny(s, beyondAuthority); i >= 0 {
		switch {
		case s[i] == '@' || strings.Contains(s, "@") && !strings.ContainsAny(s, "/?#"):
			return "has user information"
		case i == 0:
			return "has no host"
		case s[i] == '%' && s[0] == '[':
			return "has a zone"
		}
		return map[byte]string{
			'/': "has a path", '?': "has a query", '#': "has a fragment",
			'\\': "has a backslash", '%': "has a percent-escape",
		}[s[i]]
	}
	host, port := splitPort(s)
	_, bareErr := netip.ParseAddr(s)
	switch {
	case host == "":
		return "has no host"
	case bareErr == nil && strings.Contains(s, ":"):
		return "has an IPv6 address without brackets"
	case err == errPattern || len(host) > maxName: // all else about a star is said
		return "has a name longer than 253 bytes"
	case err == errIPv6:
		return "has a malformed IPv6 address"
	case err == errNumber:
		return "ends in a number and is no IPv4 address"
	case err == errPort && port == "":
		return "has an empty port"
	case err == errPort && port == "*":
		return "has a star for a port"
	case err == errPort:
		return "has a port that is not 1 to 65535"
	case strings.HasSuffix(host, ".") && !strings.HasSuffix(host, ".."):
		return "ends in a dot"
	}
	for label := range strings.SplitSeq(host, ".") {
		if label == "" {
			return "has an empty label"
		}
		if len(label) > maxLabel {
			return "has a label longer than 63 bytes"
		}
		for i := range len(label) {
			if !isNameByte(label[i]) {
				return fmt.Sprintf("has the character %q", label[i])
			}
		}
	}
	return "is malformed"
}
