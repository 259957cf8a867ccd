package token

import (
	"context"
	"encoding/json"
	"errors"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/wssecure/wssecure/internal/quote"
	"github.com/wssecure/wssecure/internal/strictjson"
)

// A locator tells where a key set is. It is used by one goroutine at a time.
type locator interface {
	locate(ctx context.Context) (url string, err error)
	place() string // for messages
}

// A known locator was given the URL.
type known string

func (k known) locate(context.Context) (string, error) { return string(k), nil }
func (k known) place() string                          { return string(k) }

const (
	metadataPath  = "/.well-known/openid-configuration"
	discoverEvery = 24 * time.Hour
	metadataShape = 1024 // members; providers send some eighty
)

// A discovery asks an issuer where its keys are (OpenID Connect Discovery 1.0, 4), and again daily. Metadata that is not
// in order is a failed fetch of the keys: what an issuer said before is not held against what it says now.
type discovery struct {
	issuer string
	fetch  *fetcher
	keys   string
	until  time.Time
}

func (d *discovery) place() string { return strings.TrimSuffix(d.issuer, "/") + metadataPath }

func (d *discovery) locate(ctx context.Context) (string, error) {
	if time.Now().Before(d.until) {
		return d.keys, nil
	}
	body, _, err := d.fetch.get(ctx, d.place())
	if err == nil {
		d.keys, err = keysURI(body, d.issuer)
	}
	if err != nil {
		d.until = time.Time{}
		return "", &detail{"metadata of the issuer: ", err}
	}
	d.until = time.Now().Add(jitter(discoverEvery, 0.10))
	return d.keys, nil
}

// A Mismatch is a value of an issuer's metadata that is not what it must be.
type Mismatch struct {
	Member string
	Seen   string // cut and quoted
	Wanted string
}

func (m *Mismatch) Error() string { return m.Member + " is " + m.Seen + ", not " + m.Wanted }

func mismatch(member, seen, wanted string) error {
	return &Mismatch{member, quote.Quoted(seen, quote.Value), wanted}
}

// keysURI reads metadata strictly and returns its jwks_uri, once its issuer is the one that was asked for, byte by byte:
// else one tenant of a host could speak for another (OpenID Connect Discovery 1.0, 4.3).
func keysURI(metadata []byte, issuer string) (string, error) {
	if err := strictjson.Check(metadata, strictjson.Limits{Depth: 16, Members: metadataShape}); err != nil {
		return "", err
	}
	var all map[string]json.RawMessage // a map: names are exact, as they are not for struct fields
	if err := json.Unmarshal(metadata, &all); err != nil || all == nil {
		return "", errors.New("no JSON object")
	}
	says, err := stringMember(all, "issuer")
	if err != nil {
		return "", err
	}
	if says != issuer {
		return "", mismatch("issuer", says, quote.Quoted(issuer, quote.Value))
	}
	keys, err := stringMember(all, "jwks_uri")
	if err != nil {
		return "", err
	}
	return keys, checkKeysURI(keys, issuer)
}

func stringMember(all map[string]json.RawMessage, name string) (string, error) {
	var s string
	if raw := all[name]; len(raw) == 0 || raw[0] != '"' || json.Unmarshal(raw, &s) != nil || s == "" {
		return "", errors.New(name + " is missing, empty or no string")
	}
	return s, nil
}

// checkKeysURI keeps metadata from sending our requests into the network we stand in (CWE-918). Another public host is
// common: large providers keep their keys apart.
func checkKeysURI(keys, issuer string) error {
	u, err := url.Parse(keys)
	if err != nil || len(keys) > 2048 {
		return mismatch("jwks_uri", keys, "a URL")
	}
	switch host := u.Hostname(); {
	case u.Scheme != "https":
		return mismatch("jwks_uri", keys, "of scheme https")
	case host == "" || u.Opaque != "" || isOddNumber(host) || !isASCII(host):
		return mismatch("jwks_uri", keys, "with a plain host")
	case u.User != nil:
		return errors.New("jwks_uri has a user or password")
	case isInside(host) && !isInside(hostOf(issuer)):
		return mismatch("jwks_uri", keys, "on a public host, as the issuer "+quote.Quoted(issuer, quote.Value)+" is")
	}
	return nil
}

func hostOf(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return ""
	}
	return u.Hostname()
}

var sharedSpace = netip.MustParsePrefix("100.64.0.0/10")

// isInside reports whether host names this machine or a private network by its very text.
func isInside(host string) bool {
	name := strings.ToLower(strings.TrimSuffix(host, "."))
	if name == "localhost" || strings.HasSuffix(name, ".localhost") {
		return true
	}
	a, err := netip.ParseAddr(name)
	if err != nil {
		return false
	}
	a = a.Unmap().WithZone("")
	return a.IsLoopback() || a.IsPrivate() || a.IsUnspecified() || a.IsLinkLocalUnicast() || a.IsMulticast() || sharedSpace.Contains(a)
}

// isASCII reports whether s is a host in the letters that DNS knows. Others are
// read again before the request, when "１２７.０.０.１" becomes an address (UTS 46).
func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] > '~' {
			return false
		}
	}
	return true
}

// isOddNumber reports whether host is an IPv4 address as only the C library reads it: 127.1, 0x7f000001, 017700000001.
func isOddNumber(host string) bool {
	if _, err := netip.ParseAddr(host); err == nil {
		return false
	}
	name := strings.TrimSuffix(host, ".")
	last := name[strings.LastIndexByte(name, '.')+1:]
	if _, err := strconv.ParseUint(last, 10, 64); err == nil {
		return true
	}
	return strings.HasPrefix(last, "0x") || strings.HasPrefix(last, "0X")
}
