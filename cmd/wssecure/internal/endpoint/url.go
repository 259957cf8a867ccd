package endpoint

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// URL is a target as it was named.
type URL struct {
	Secure bool
	Host   string // name or address, without brackets and port
	Port   string
	Path   string // path and query, as in a request line
	shown  string
	raw    string
	query  url.Values
}

// Parse reads a ws:// or wss:// URL (RFC 6455 section 3).
func Parse(text string) (*URL, error) {
	if !strings.Contains(text, "://") { // net/url takes a host before its port for a scheme
		return nil, errors.New("no scheme; write wss:// or ws:// in front of the host")
	}
	u, err := url.Parse(text)
	if err != nil {
		// The text of url.Error repeats the URL, and with it what may be a secret.
		return nil, errors.New("the URL does not parse; write wss://host/path")
	}
	if u.Scheme != "wss" && u.Scheme != "ws" {
		return nil, fmt.Errorf("scheme %q; write wss:// or ws://", u.Scheme)
	}
	switch {
	case u.User != nil:
		return nil, errors.New("the URL holds a user name; credentials go into the environment variable WSSECURE_TOKEN")
	case u.Fragment != "" || strings.HasSuffix(text, "#"):
		return nil, errors.New("a WebSocket URL has no fragment (RFC 6455 section 3)")
	case u.Hostname() == "":
		return nil, errors.New("the URL names no host; write wss://host/path")
	}
	host := strings.ToLower(u.Hostname())
	if err := hostFault(host); err != nil {
		return nil, err
	}
	t := &URL{Secure: u.Scheme == "wss", Host: host, Port: u.Port(), Path: u.RequestURI()}
	if t.Port == "" {
		t.Port = map[bool]string{true: "443", false: "80"}[t.Secure]
	}
	if n, err := strconv.ParseUint(t.Port, 10, 16); err != nil || n == 0 {
		return nil, fmt.Errorf("port %q; write one from 1 to 65535", t.Port)
	}
	t.raw, t.query = text, u.Query()
	t.shown = u.Scheme + "://" + t.Authority() + u.EscapedPath() + hideQuery(u.Query())
	return t, nil
}

func hostFault(host string) error {
	if addr, err := netip.ParseAddr(host); err == nil {
		if addr.Zone() != "" {
			return errors.New("an address with a zone is no host of a URL")
		}
		return nil
	}
	for _, c := range host {
		if c != '-' && c != '.' && c != '_' && (c < '0' || c > '9') && (c < 'a' || c > 'z') {
			return fmt.Errorf("host %q; write a name of ASCII letters (xn--... for others) or an address", host)
		}
	}
	return nil
}

// hideQuery keeps names and drops values: tokens and tickets travel there.
func hideQuery(query url.Values) string {
	if len(query) == 0 {
		return ""
	}
	for name := range query {
		query[name] = []string{"…"}
	}
	return "?" + strings.ReplaceAll(query.Encode(), "%E2%80%A6", "…")
}

// String is the URL without the values of its query, for reports.
func (u *URL) String() string { return u.shown }

// Raw is the URL as it was given, never to be shown.
func (u *URL) Raw() string { return u.raw }

// Secrets are the query as it was written, and its values that are long enough to be one.
func (u *URL) Secrets() []string {
	var secrets []string
	if _, written, found := strings.Cut(u.Path, "?"); found && written != "" {
		secrets = append(secrets, "?"+written)
		for pair := range strings.SplitSeq(written, "&") {
			if _, v, _ := strings.Cut(pair, "="); len(v) >= 8 {
				secrets = append(secrets, v)
			}
		}
	}
	for _, values := range u.query {
		for _, v := range values {
			if len(v) >= 8 {
				secrets = append(secrets, v, url.QueryEscape(v))
			}
		}
	}
	return secrets
}

// Authority is the Host that a browser sends: no port where it is the scheme's own.
func (u *URL) Authority() string {
	host := u.Host
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if u.Secure && u.Port == "443" || !u.Secure && u.Port == "80" {
		return host
	}
	return host + ":" + u.Port
}

// Origin is that of a page of the same host.
func (u *URL) Origin() string {
	if u.Secure {
		return "https://" + u.Authority()
	}
	return "http://" + u.Authority()
}

// Addr is what is dialled.
func (u *URL) Addr() string { return net.JoinHostPort(u.Host, u.Port) }

// IsLoopback reports whether the host can only be this machine.
func (u *URL) IsLoopback() bool {
	if addr, err := netip.ParseAddr(u.Host); err == nil {
		return addr.IsLoopback()
	}
	return u.Host == "localhost" || strings.HasSuffix(u.Host, ".localhost")
}

// HasHSTS reports whether browsers honour HSTS for the host: not for addresses (RFC 6797 section 8.1.1), and on a
// developer's own machine it would only harm.
func (u *URL) HasHSTS() bool {
	_, err := netip.ParseAddr(u.Host)
	return err != nil && !u.IsLoopback()
}

// IsSite takes www and its kin for the same host.
func (u *URL) IsSite(host string) bool {
	a, b := strings.ToLower(host), u.Host
	return a == b || strings.HasSuffix(a, "."+b) || strings.HasSuffix(b, "."+a)
}
