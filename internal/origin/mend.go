package origin

import "strings"

// The text a fix tells the developer to write is the entry itself without its
// mistake, where that can be had; it is offered only if the list would take it.

// write words the fix that is a text to copy.
func write(p string) string { return `write "` + p + `"` }

// mendOrigin drops from p all that is not scheme, host and port, and puts in
// what lacks. If that does not make an entry, the fix is the example.
func mendOrigin(p string) string {
	scheme, rest := mendScheme(p)
	if !isScheme(scheme) || schemeFault(scheme) != "" {
		scheme = "https"
	}
	o, star, err := parsePattern(scheme + "://" + rest)
	if err != nil {
		return exampleOrigin
	}
	return canonical(o, star)
}

// mendPublic is mendOrigin for SetPublicURL.
func mendPublic(s string) string {
	scheme, rest := mendScheme(s)
	if !isWebScheme(scheme) {
		scheme = "https"
	}
	o, err := parsePublic(scheme + "://" + rest)
	if err != nil {
		return examplePublic
	}
	return o.String()
}

// mendHost is mendOrigin for AllowHosts.
func mendHost(p string) string {
	if _, rest, found := strings.Cut(unwrap(p), "://"); found {
		p = rest
	}
	p = mendAuthority(unwrap(p))
	if _, _, err := parseHostPattern(p); err != nil {
		return exampleHost
	}
	return p
}

// mendScheme splits p and finds the scheme that was meant.
func mendScheme(p string) (scheme, rest string) {
	p = unwrap(p)
	scheme, rest, found := strings.Cut(p, "://")
	if !found {
		scheme, rest = "", p
		if s := badlyJoined(p); s != "" {
			scheme, rest = s, p[len(s)+1:]
		}
	}
	rest = mendAuthority(rest)
	switch lower(scheme) {
	case "ws":
		return "http", rest
	case "":
		// Nobody has a certificate for localhost; everybody else should.
		if h, err := ParseHost(rest); err == nil && IsLoopbackHost(h.Name) {
			return "http", rest
		}
		return "https", rest
	}
	return scheme, rest
}

// badlyJoined gives the scheme that p begins with where no "://" follows it.
func badlyJoined(p string) string {
	for _, scheme := range []string{"https", "http", "wss", "ws"} {
		n := len(scheme)
		if len(p) > n && strings.EqualFold(p[:n], scheme) && strings.IndexByte(`:/\`, p[n]) >= 0 {
			return scheme
		}
	}
	return ""
}

// unwrap takes off what a shell, a YAML file or a copied line leaves around.
func unwrap(p string) string { return strings.Trim(p, " \t\r\n\"'`") }

// mendAuthority leaves host and port of what follows a scheme.
func mendAuthority(s string) string {
	s = strings.TrimLeft(s, `/\`)
	if i := strings.IndexAny(s, `/?#\`); i >= 0 {
		s = s[:i]
	}
	s = s[strings.LastIndexByte(s, '@')+1:]
	if !strings.HasPrefix(s, "[") && strings.Count(s, ":") > 1 {
		return "[" + s + "]"
	}
	host, port := splitPort(s)
	if before, _, zone := strings.Cut(host, "%"); zone && strings.HasPrefix(host, "[") {
		host = before + "]"
	}
	host = strings.TrimSuffix(host, ".")
	if _, err := parsePort(port); err != nil {
		return host
	}
	return host + ":" + port
}

// splitPort cuts at the colon that would start a port.
func splitPort(s string) (host, port string) {
	if i := strings.LastIndexByte(s, ':'); i > strings.IndexByte(s, ']') {
		return s[:i], s[i+1:]
	}
	return s, ""
}

func isWebScheme(s string) bool {
	return strings.EqualFold(s, "https") || strings.EqualFold(s, "http")
}
