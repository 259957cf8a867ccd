package origin

import (
	"errors"
	"fmt"
	"strings"
)

// A mistake in a list is made once, by a developer who waits for an answer.
// Here every one of them is told apart and answered with the text to write,
// where a request's text only ever hears no.

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

// noPageScheme lists schemes that never stand in an Origin of their own. Pages
// from file: and data: send "null".
var noPageScheme = map[string]bool{
	"ws": true, "wss": true, "ftp": true, "ftps": true, "file": true, "data": true, "blob": true,
	"javascript": true, "about": true, "mailto": true, "tcp": true, "tls": true, "unix": true,
}

// parsePattern reads one entry of AllowOrigins. With star, Host is what stands
// after "*.".
func parsePattern(p string) (o Origin, star bool, err error) {
	if err := notOrigin(p); err != nil {
		return Origin{}, false, err
	}
	scheme, rest, _ := strings.Cut(p, "://")
	name, star := strings.CutPrefix(rest, "*.")
	if star {
		p = scheme + "://" + name
	}
	o, err = Parse(p)
	if err != nil {
		return Origin{}, false, err
	}
	return o, star, nil
}

// ParsePublic reads the address under which this server is known, such as
// "https://ws.example.com". The error completes a line that starts with
// "SetPublicURL: ".
func ParsePublic(s string) (Origin, error) {
	o, err := Parse(s)
	if err != nil {
		return Origin{}, err
	}
	if o.Scheme != "https" && o.Scheme != "http" {
		return Origin{}, errors.New("x")
	}
	return o, nil
}

// parseHostPattern reads one entry of AllowHosts.
func parseHostPattern(p string) (h Host, star bool, err error) {
	name, star := strings.CutPrefix(p, "*.")
	h, err = ParseHost(name)
	return h, star, err
}

func notOrigin(p string) error {
	if p == "null" {
		return about(p, "is shared by sandboxed pages", "use InsecureAllowNullOrigin")
	}
	return nil
}
