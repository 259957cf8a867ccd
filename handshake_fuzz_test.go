package wssecure_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/internal/memnet"
	"github.com/wssecure/wssecure/wssecuretest"
)

// FuzzHandshake puts any request head before a guard in memory. The verdict must
// be that of a second judge, which is written from the standards and shares no
// code with the guard; a refusal must be one of the table of reasons and repeat nothing.
func FuzzHandshake(f *testing.F) {
	for _, table := range handshakeTables {
		for _, row := range handshakeRows(f, table.file) {
			hs := row.apply((&wssecuretest.Server{}).Handshake(goodToken))
			f.Add(hs.Bytes())
			hs.Set("Sec-WebSocket-Protocol", "chat, bearer, "+goodToken).Del("Authorization")
			f.Add(hs.Bytes())
			f.Add(hs.Del("Origin").Add("Sec-Fetch-Mode: websocket").Bytes())
		}
	}
	var people atomic.Int64
	guard, err := wssecure.New(
		wssecure.AllowOrigins(wssecuretest.Origin),
		wssecure.LimitConns(wssecure.BySubject(), 10_000),
		wssecure.RequireToken(wssecure.VerifierFunc(func(_ context.Context, token string) (*wssecure.Identity, error) {
			if token != goodToken {
				return nil, wssecure.ReasonTokenInvalid
			}
			// Somebody else each time: the fixture's nonce is never used twice.
			return &wssecure.Identity{Subject: fmt.Sprint(people.Add(1))}, nil
		})))
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { guard.Shutdown(context.Background()) })
	connHandler := guard.ConnHandler(wssecuretest.Echo)
	handler := guard.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, admitted := wssecure.SessionFrom(r.Context())
		w.Header().Set("X-Reached", fmt.Sprint(admitted))
		w.WriteHeader(http.StatusNoContent)
	}))

	f.Fuzz(func(t *testing.T, head []byte) {
		r := requestOf(head, people.Add(1))
		if r == nil {
			return
		}
		valid, upgrade := isFixtureValid(r), isUpgradeByName(r)
		w := serveInMemory(connHandler, r)
		if switched := bytes.HasPrefix(w.conn.written(), []byte("HTTP/1.1 101 ")); switched != valid {
			t.Errorf("ConnHandler: switched %v, want %v; %d %s", switched, valid, w.status, w.body.Bytes())
		}
		if !valid {
			wantListedRefusal(t, w)
		}

		w = serveInMemory(handler, requestOf(head, people.Add(1)))
		switch w.header.Get("X-Reached") {
		case "":
			wantListedRefusal(t, w)
			if valid || !upgrade {
				t.Errorf("Handler: refused with %d %s, want it passed on", w.status, w.body.Bytes())
			}
		case "true":
			if !valid {
				t.Error("Handler: admitted, want a refusal")
			}
		case "false":
			if upgrade {
				t.Error("Handler: an upgrade was passed on unchecked")
			}
		}
	})
}

const goodToken = "good.token"

// requestOf parses as net/http does, and puts the request on a TLS connection of
// a client that nobody has seen before.
func requestOf(head []byte, client int64) *http.Request {
	r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(head)))
	if err != nil {
		return nil
	}
	var address [16]byte
	address[0] = 0x20
	binary.BigEndian.PutUint32(address[2:], uint32(client))
	r.RemoteAddr = netip.AddrPortFrom(netip.AddrFrom16(address), 4711).String()
	r.TLS = &tls.ConnectionState{Version: tls.VersionTLS13, HandshakeComplete: true}
	return r
}

// isFixtureValid is the second judge.
func isFixtureValid(r *http.Request) bool {
	if len(r.URL.Path)+len(r.URL.RawQuery) > 16<<10 {
		return false
	}
	key := r.Header["Sec-Websocket-Key"]
	names, ok := secondSubprotocols(r.Header["Sec-Websocket-Protocol"])
	return ok && r.Method == "GET" && r.ProtoMajor == 1 && r.ProtoMinor >= 1 &&
		r.ContentLength == 0 && len(r.TransferEncoding) == 0 &&
		slices.ContainsFunc(listed(r.Header["Upgrade"]), asciiFold("websocket")) &&
		slices.ContainsFunc(listed(r.Header["Connection"]), asciiFold("upgrade")) &&
		slices.Equal(r.Header["Sec-Websocket-Version"], []string{"13"}) &&
		len(key) == 1 && sixteenBytes.MatchString(key[0]) &&
		secondHost(r.Host) && secondFetchMetadata(r.Header) &&
		secondCredential(r.Header["Authorization"], names) &&
		(len(r.Header["Origin"]) == 0 || len(r.Header["Origin"]) == 1 && fixtureOrigin.MatchString(r.Header["Origin"][0]))
}

var (
	sixteenBytes  = regexp.MustCompile(`\A[A-Za-z0-9+/]{22}==\z`)
	fixtureOrigin = regexp.MustCompile(`\A(?i:https)://(?i:app\.example\.com)(:443)?\z`)
	token         = regexp.MustCompile("\\A[!#$%&'*+.^_`|~0-9A-Za-z-]+\\z")
	namedHost     = regexp.MustCompile(`\A([A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*\.?|\[[0-9A-Fa-f:.]+\])(?::([1-9][0-9]{0,4}))?\z`)
)

func asciiFold(want string) func(string) bool {
	return func(s string) bool { return len(s) == len(want) && strings.EqualFold(s, want) }
}

func listed(lines []string) (elements []string) {
	for _, e := range strings.Split(strings.Join(lines, ","), ",") {
		elements = append(elements, strings.Trim(e, " \t"))
	}
	return elements
}

func secondSubprotocols(lines []string) (names []string, ok bool) {
	if len(lines) == 0 {
		return nil, true
	}
	names = listed(lines)
	size := len(strings.Join(lines, ""))
	sorted := slices.Sorted(slices.Values(names))
	return names, len(names) <= 32 && size <= 16<<10 && len(slices.Compact(sorted)) == len(names) &&
		!slices.ContainsFunc(names, func(n string) bool { return !token.MatchString(n) })
}

func secondHost(host string) bool {
	m := namedHost.FindStringSubmatch(host)
	if m == nil || len(m[2]) == 5 && m[2] > "65535" {
		return false
	}
	name := m[1]
	if name[0] == '[' {
		a, err := netip.ParseAddr(name[1 : len(name)-1])
		return err == nil && a.Is6()
	}
	last := name[strings.LastIndexByte(strings.TrimSuffix(name, "."), '.')+1:]
	if strings.Trim(strings.TrimSuffix(last, "."), "0123456789") == "" {
		a, err := netip.ParseAddr(name)
		return err == nil && a.Is4()
	}
	return len(name) <= 253
}

func secondFetchMetadata(h http.Header) bool {
	mode, site, dest := h["Sec-Fetch-Mode"], h["Sec-Fetch-Site"], h["Sec-Fetch-Dest"]
	if len(mode) > 1 || len(site) > 1 || len(dest) > 1 || slices.Contains(site, "none") {
		return false
	}
	if len(dest) == 1 && dest[0] != "empty" && dest[0] != "websocket" {
		return false
	}
	return len(mode) == 0 || !slices.Contains([]string{"navigate", "no-cors", "cors", "same-origin"}, mode[0])
}

// secondCredential wants the good token in one of the two default places, and
// nothing in the other.
func secondCredential(authorization, names []string) bool {
	if len(authorization) > 1 {
		return false
	}
	bearer := len(authorization) == 1 && regexp.MustCompile(`\A(?i:bearer)([^!#$%&'*+.^_|~0-9A-Za-z`+"`"+`-]|\z)`).MatchString(authorization[0])
	at := slices.Index(names, "bearer")
	switch {
	case bearer && at >= 0:
		return false
	case bearer:
		return authorization[0][len("bearer"):] == " "+goodToken
	default:
		return at >= 0 && at+1 < len(names) && names[at+1] == goodToken
	}
}

// isUpgradeByName says in other words than the guard what an upgrade is.
func isUpgradeByName(r *http.Request) bool {
	for name, values := range r.Header {
		name = strings.ToLower(name)
		if strings.HasPrefix(name, "sec-websocket-") || name == ":protocol" {
			return true
		}
		if name == "upgrade" && strings.Contains(strings.ToLower(strings.Join(values, "\n")), "websocket") {
			return true
		}
	}
	return false
}

// refusalTable says which public reason may come with which status.
var refusalTable = map[string]int{
	"method": 405, "http-version": 400, "upgrade-required": 426, "version": 426, "key": 400, "body": 400,
	"malformed": 400, "subprotocol": 400, "host": 400, "origin": 403, "origin-missing": 403,
	"invalid-request": 400, "token-missing": 401, "token-invalid": 401,
}

var problemBody = regexp.MustCompile(`\A\{"type":"https://github\.com/wssecure/wssecure/blob/main/docs/reasons\.md#([a-z-]+)",` +
	`"title":"[A-Za-z ]+","status":(\d{3}),"instance":"[0-9a-f]{32}"\}\n\z`)

// wantListedRefusal checks an answer that has no room for what the peer sent.
func wantListedRefusal(t *testing.T, w *memoryWriter) {
	t.Helper()
	m := problemBody.FindSubmatch(w.body.Bytes())
	if m == nil || string(m[2]) != fmt.Sprint(w.status) {
		t.Fatalf("status %d, no problem body: %q", w.status, w.body.Bytes())
	}
	reason := string(m[1])
	twice := reason == "version" && w.status == 400 || reason == "origin" && w.status == 400 || reason == "http-version" && w.status == 505
	if refusalTable[reason] != w.status && !twice {
		t.Errorf("reason %s came with %d", reason, w.status)
	}
	for name, values := range w.header {
		text := strings.Join(values, "|")
		if want, ok := refusalHeaders[name]; !ok || !slices.Contains(want, text) {
			t.Errorf("%d %s: header %s: %q", w.status, reason, name, text)
		}
	}
	for _, name := range []string{"Content-Security-Policy", "X-Frame-Options", "X-Content-Type-Options", "Cache-Control", "Content-Type", "Connection"} {
		if w.header[name] == nil {
			t.Errorf("%d %s: no %s", w.status, reason, name)
		}
	}
}

// refusalHeaders are all lines that a refusal of the fixture can have.
var refusalHeaders = map[string][]string{
	"Strict-Transport-Security": {"max-age=31536000"},
	"Content-Security-Policy":   {"default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"},
	"X-Frame-Options":           {"DENY"},
	"X-Content-Type-Options":    {"nosniff"},
	"Cache-Control":             {"no-store"},
	"Content-Type":              {"application/problem+json"},
	"Connection":                {"close", "close|Upgrade"},
	"Upgrade":                   {"websocket"},
	"Sec-Websocket-Version":     {"13"},
	"Allow":                     {"GET"},
	"Www-Authenticate":          {`Bearer realm="ws"`, `Bearer realm="ws", error="invalid_request"`, `Bearer realm="ws", error="invalid_token"`},
}

// memoryWriter is a ResponseWriter whose connection is memory.
type memoryWriter struct {
	header http.Header
	status int
	body   bytes.Buffer
	conn   memoryConn
}

func serveInMemory(h http.Handler, r *http.Request) *memoryWriter {
	w := &memoryWriter{header: http.Header{}}
	h.ServeHTTP(w, r)
	return w
}

func (w *memoryWriter) Header() http.Header { return w.header }

func (w *memoryWriter) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
}

func (w *memoryWriter) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.body.Write(p)
}

func (w *memoryWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if w.status != 0 {
		return nil, nil, errors.New("hijacked after an answer")
	}
	rw := bufio.NewReadWriter(bufio.NewReader(&w.conn), bufio.NewWriter(&w.conn))
	return &w.conn, rw, nil
}

// memoryConn is a memnet.Conn whose peer has gone after its handshake, and that keeps
// what it was told.
type memoryConn struct {
	memnet.Conn
	out atomic.Pointer[[]byte]
}

func (c *memoryConn) written() []byte {
	if p := c.out.Load(); p != nil {
		return *p
	}
	return nil
}

func (c *memoryConn) Write(p []byte) (int, error) {
	all := append(slices.Clone(c.written()), p...)
	c.out.Store(&all)
	return len(p), nil
}
