package attack

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wssecure/wssecure/internal/probe"
)

// A Target is the endpoint under attack and what its owner gives to the attacker. Fill in the fields, then call Prepare;
// they must not change afterwards.
type Target struct {
	URL       string      // ws://host[:port]/path or wss://; http and https stand for them
	Addr      string      // host:port to connect to; empty means the URL's
	LocalAddr string      // IP address to connect from; empty means any
	Dial      Dialer      // in place of TCP and TLS; nil means these
	TLS       *tls.Config // for wss; nil verifies by the system's roots
	Host      string      // the Host line; empty means the URL's

	Origin       string        // one that is admitted; empty means the URL's own host
	Token        func() string // a good token, the same or a new one each time; nil: none is needed
	Place        Place         // where the token goes
	Subprotocols []string      // offered in every honest handshake
	Lines        []string      // further header lines of every handshake, without line end

	Sign       func(header, payload []byte) (string, error)             // a JWT of exactly these two parts, signed with the good key
	PublicKeys [][]byte                                                 // the public key in the forms in which an attacker finds it: PEM, DER, JWK
	Ticket     func(ctx context.Context, origin string) (string, error) // a fresh single-use ticket; it goes into the query
	Revoke     func(ctx context.Context, token string) error            // ends what was opened with that token
	Log        func() string                                            // all that the server has logged so far

	Active   bool          // frames, bursts and held connections are allowed
	Pace     Pace          // zero fields set no bound
	Timeout  time.Duration // of one step: connecting, an answer; zero means five seconds
	Patience time.Duration // how long the server may let a peer stall; zero: see the attacks that wait
	Slack    time.Duration // what a server on a busy machine may need beyond what any should, until it is taken for one that never does

	endpoint  endpoint
	honest    answer // to the first honest handshake
	pace      pacer
	company   *company
	doubt     atomic.Pointer[fall] // since when honest clients are not served; nil while they are
	fallen    atomic.Pointer[fall] // the same, when there was time to recover
	shut      atomic.Pointer[fall] // since when this address gets no answer, and others may
	controls  controls
	lateness  lateness
	takesBack atomic.Bool // a 101 was followed by a refusal

	asksForCert atomic.Bool // for a client certificate
	shown       atomic.Pointer[tls.Certificate]

	mu      sync.Mutex
	secrets map[string]bool // tokens that were sent: never printed
}

// A Dialer connects to a target from an IP address; empty means any.
type Dialer func(ctx context.Context, local string) (net.Conn, error)

// A Place is where a token goes. The zero value is the Authorization header.
type Place struct {
	Kind PlaceKind
	Name string // of the cookie or query parameter, the marker of the subprotocol
}

// PlaceKind is a part of the handshake.
type PlaceKind int

const (
	InBearer PlaceKind = iota
	InSubprotocol
	InCookie
	InQuery
)

// explicit tells what a hostile page cannot send without knowing it from what the browser adds by itself.
func (p Place) explicit() bool { return p.Kind != InCookie }

// ticketParameter is where a ticket goes.
const ticketParameter = "ticket"

// endpoint is the URL, taken apart once.
type endpoint struct {
	secure bool
	host   string // as in the Host line
	name   string // without port
	addr   string
	target string // path and query
	tls    *tls.Config
}

func (t *Target) locate() error {
	u, err := url.Parse(t.URL)
	switch {
	case err != nil:
		return fmt.Errorf("attack: the URL cannot be read: %w", err)
	case !slices.Contains([]string{"ws", "wss", "http", "https"}, u.Scheme):
		return fmt.Errorf("attack: %q is no ws:// or wss:// URL", t.URL)
	case u.Host == "" || u.User != nil || u.Fragment != "":
		return fmt.Errorf("attack: %q is no address of an endpoint", t.URL)
	}
	e := endpoint{secure: u.Scheme == "wss" || u.Scheme == "https", target: u.RequestURI()}
	usual := map[bool]string{false: "80", true: "443"}[e.secure]
	port := or(u.Port(), usual)
	// As browsers write it: a list of origins has no other spelling.
	e.host = or(t.Host, strings.TrimSuffix(strings.ToLower(u.Host), ":"+usual))
	e.addr = or(t.Addr, net.JoinHostPort(u.Hostname(), port))
	e.name = (&url.URL{Host: e.host}).Hostname()
	if e.secure {
		e.tls = &tls.Config{}
		if t.TLS != nil {
			e.tls = t.TLS.Clone()
		}
		e.tls.ServerName = or(e.tls.ServerName, e.name)
		e.tls.NextProtos = []string{"http/1.1"}
		e.tls = t.witnessed(e.tls)
	}
	if t.Origin == "" {
		t.Origin = map[bool]string{false: "http://", true: "https://"}[e.secure] + e.host
	}
	t.endpoint = e
	return nil
}

// Prepare makes the honest handshake that every attack is compared with. Its error says that there is nobody to attack;
// a refusal is no error, see Admitted.
func (t *Target) Prepare(ctx context.Context) error {
	if err := t.locate(); err != nil {
		return err
	}
	t.secrets = map[string]bool{}
	t.doubt.Store(nil)
	t.fallen.Store(nil)
	t.shut.Store(nil)
	t.pace.start(t.Pace)
	t.company = &company{turn: make(chan struct{}, 1)}
	t.controls.turn = make(chan struct{}, 1)
	t.honest = t.ask(ctx, t.Honest())
	return t.honest.err
}

// WantsCertificate reports whether the target has asked for a client certificate, and was shown none.
func (t *Target) WantsCertificate() bool { return t.asksForCert.Load() && t.shown.Load() == nil }

// Admitted reports whether the honest handshake was, and what came back.
func (t *Target) Admitted() (bool, string) { return t.honest.admitted(), t.got(t.honest) }

// Honest is a handshake as a good client sends it, with a nonce of its own, to be changed.
func (t *Target) Honest() *probe.Handshake {
	h := t.anonymous()
	if t.Token != nil {
		t.put(h, t.Place, t.token())
	}
	return h
}

// anonymous is Honest without a credential.
func (t *Target) anonymous() *probe.Handshake {
	h := probe.Fixture(t.endpoint.host, t.Origin)
	h.Target = t.endpoint.target
	h.Set("Sec-WebSocket-Key", newKey())
	if len(t.Subprotocols) > 0 {
		h.Add("Sec-WebSocket-Protocol: " + strings.Join(t.Subprotocols, ", "))
	}
	for _, line := range t.Lines {
		h.Add(line)
	}
	return h
}

// with is Honest with another token.
func (t *Target) with(token string) *probe.Handshake {
	h := t.anonymous()
	t.put(h, t.Place, token)
	return h
}

func (t *Target) put(h *probe.Handshake, p Place, token string) {
	switch p.Kind {
	case InBearer:
		h.Set("Authorization", "Bearer "+token)
	case InSubprotocol:
		offered := append([]string{or(p.Name, "bearer"), token}, t.Subprotocols...)
		h.Set("Sec-WebSocket-Protocol", strings.Join(offered, ", "))
	case InCookie:
		h.Add("Cookie: " + p.Name + "=" + token)
	case InQuery:
		h.Target = withParameter(h.Target, p.Name, token)
	}
}

func withParameter(target, name, value string) string {
	sep := "?"
	if strings.Contains(target, "?") {
		sep = "&"
	}
	return target + sep + url.QueryEscape(name) + "=" + url.QueryEscape(value)
}

// token is a good one, and remembered so that it is never printed.
func (t *Target) token() string {
	token := t.Token()
	t.hide(token)
	return token
}

func (t *Target) hide(secret string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.secrets[secret] = true
	t.secrets[url.QueryEscape(secret)] = true // as it stands in a query, and comes back out of one
}

func (t *Target) redact(s string) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	for secret := range t.secrets {
		if secret != "" {
			s = strings.ReplaceAll(s, secret, "<the token>")
		}
	}
	return s
}

func newKey() string {
	nonce := make([]byte, 16)
	rand.Read(nonce)
	return base64.StdEncoding.EncodeToString(nonce)
}

// A link is one connection to the target.
type link struct {
	*probe.Conn
	end func()
}

// Close cuts the connection and gives its place back.
func (l *link) Close() { l.end() }

// within is d with the slack.
func (t *Target) within(d time.Duration) time.Duration { return d + t.Slack }

// step is how long one may take.
func (t *Target) step() time.Duration { return cmp.Or(t.Timeout, 5*time.Second) }

// dial connects when the pace allows it. The connection is cut when ctx ends.
func (t *Target) dial(ctx context.Context) (*link, error) { return t.dialFrom(ctx, t.LocalAddr) }

func (t *Target) dialFrom(ctx context.Context, local string) (*link, error) {
	return t.dialBy(ctx, local, t.endpoint.tls)
}

func (t *Target) dialBy(ctx context.Context, local string, config *tls.Config) (*link, error) {
	if err := t.pace.enter(ctx); err != nil {
		return nil, err
	}
	c, err := t.connect(ctx, local, config)
	if err != nil {
		t.pace.leave()
		return nil, err
	}
	var once sync.Once
	l := &link{Conn: c}
	stop := context.AfterFunc(ctx, func() { c.NetConn().Close() })
	l.end = func() {
		once.Do(func() {
			stop()
			cut(c)
			t.pace.leave()
		})
	}
	return l, nil
}

func (t *Target) connect(ctx context.Context, local string, config *tls.Config) (*probe.Conn, error) {
	if t.Dial == nil {
		return probe.DialTimeout(ctx, t.endpoint.addr, config, local, t.step())
	}
	nc, err := t.Dial(ctx, local)
	if err != nil {
		return nil, err
	}
	c := probe.New(nc)
	c.Timeout = t.step()
	return c, nil
}

// cut closes the TCP connection itself: crypto/tls may wait for a peer that does not read.
func cut(c *probe.Conn) {
	if tc, ok := c.NetConn().(*tls.Conn); ok {
		tc.NetConn().Close()
		return
	}
	c.Close()
}

// errSpent is the end of Pace.Total.
var errSpent = errors.New("attack: the number of connections that was allowed is used up")

// loopback reports whether the target is on this machine, where every 127.x.y.z is a client of its own.
func (t *Target) loopback() bool {
	host, _, _ := net.SplitHostPort(t.endpoint.addr)
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback() && ip.To4() != nil
}
