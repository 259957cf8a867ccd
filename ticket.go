package wssecure

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/wssecure/wssecure/internal/origin"
	"github.com/wssecure/wssecure/store"
)

// This file is what a ticket is: 32 random bytes that stand for one identity, at
// one origin, once. post.go is the door where a page gets one.

const (
	ticketParameter = "ticket"
	ticketBytes     = 32
	ticketLength    = 43       // of 32 bytes in base64url
	mostTicketed    = 15 << 10 // bytes of an identity; a store takes 16 KiB
	longestPath     = 1 << 10
)

// FromTicket reads a single-use ticket from the query parameter "ticket". A page
// gets one from [Guard.TicketHandler], a backend from [Guard.IssueTicket]:
//
//	new WebSocket("wss://ws.example.com/ws?ticket=" + ticket)
//
// A ticket is 32 random bytes that live for 30 seconds, for pages of one origin.
// The 101 spends it, so that what a proxy writes into its log admits nobody; a
// refused handshake leaves it good. The identity is the one of the credential it
// was swapped for; scopes, claims and revocations are judged again.
func FromTicket() Source {
	return Source{kind: sourceTicket, option: "FromTicket", name: ticketParameter}
}

// TicketFor says where a ticket of [Guard.IssueTicket] is good.
type TicketFor struct {
	Origin string // of the page, as "https://app.example.com"; "" for a handshake without Origin only
	Path   string // that the handshake asks for, as "/ws"; "" for any
}

// IssueTicket makes a ticket for id, for a backend that knows its user and hands
// the ticket to the page that it serves. The guard must have [FromTicket] among
// its sources. id needs Issuer and Subject, and IssuedAt for when the user logged
// in: without it every revocation of that user refuses the ticket. Claims come
// back as JSON would give them. The error never quotes the ticket; one of the
// store has [ReasonUnavailable].
func (g *Guard) IssueTicket(ctx context.Context, id *Identity, use TicketFor) (string, error) {
	if !g.policy.reads(sourceTicket) {
		return "", errors.New("wssecure: IssueTicket: the guard does not read tickets; add FromTicket() to RequireToken")
	}
	switch {
	case id == nil:
		return "", errors.New("wssecure: IssueTicket: the identity is nil")
	case id.Subject == "":
		return "", errors.New("wssecure: IssueTicket: the identity has no Subject")
	case id.introspected != nil:
		return "", errors.New("wssecure: IssueTicket: the identity is of Introspection, which is asked about it again; use TicketHandler, or an Identity of your own")
	case id.expired(time.Now()):
		return "", fmt.Errorf("wssecure: IssueTicket: the identity has expired at %s", id.Expiry.UTC().Format(time.RFC3339))
	}
	if use.Origin != "" {
		o, err := origin.Parse(use.Origin)
		if err != nil {
			return "", fmt.Errorf("wssecure: IssueTicket: Origin %q: %w", use.Origin, err)
		}
		use.Origin = o.String()
	}
	path, err := ticketPath(use.Path)
	if err != nil {
		return "", fmt.Errorf("wssecure: IssueTicket: Path %q %w", use.Path, err)
	}
	use.Path = path
	text, err := g.core.issueTicket(ctx, g.policy, id, "", use)
	if err != nil {
		return "", fmt.Errorf("wssecure: IssueTicket: %w", err)
	}
	return text, nil
}

// ticketPath gives path in the one spelling that is compared.
func ticketPath(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	u, err := url.ParseRequestURI(path)
	if err != nil || len(path) > longestPath || path[0] != '/' || strings.HasPrefix(path, "//") || strings.ContainsAny(path, "?#") {
		return "", errors.New(`is not a path; write one such as "/ws"`)
	}
	return u.EscapedPath(), nil
}

// ticket is what stands behind the text: all that an [Identity] is, where it is
// good, and whose verifier vouched for it.
type ticket struct {
	Issuer      string         `json:"iss"`
	Subject     string         `json:"sub"`
	TokenID     string         `json:"jti,omitempty"`
	OIDCSession string         `json:"sid,omitempty"`
	Scopes      []string       `json:"scopes,omitempty"`
	IssuedAt    time.Time      `json:"iat,omitzero"`
	AuthTime    time.Time      `json:"auth_time,omitzero"`
	Expiry      time.Time      `json:"exp,omitzero"`
	ACR         string         `json:"acr,omitempty"`
	AMR         []string       `json:"amr,omitempty"`
	Claims      map[string]any `json:"claims,omitempty"`
	Skew        time.Duration  `json:"skew,omitempty"`
	Thumbprint  string         `json:"x5t,omitempty"`
	Content     []byte         `json:"content,omitempty"` // no UTF-8
	Token       string         `json:"token,omitempty"`   // of an identity that is asked about again

	Verifier string    `json:"verifier"`
	Origin   string    `json:"origin,omitempty"`
	Path     string    `json:"path,omitempty"`
	Until    time.Time `json:"until"`
}

func (t *ticket) identity() *Identity {
	id := &Identity{
		Issuer: t.Issuer, Subject: t.Subject, TokenID: t.TokenID, OIDCSession: t.OIDCSession,
		Scopes: t.Scopes, IssuedAt: t.IssuedAt, AuthTime: t.AuthTime, Expiry: t.Expiry,
		ACR: t.ACR, AMR: t.AMR, Claims: t.Claims,
		skew: t.Skew, thumbprint: t.Thumbprint, content: string(t.Content),
	}
	id.keys = makeKeys(id)
	return id
}

// isText reports whether what tells one person, token or right from another is
// UTF-8. JSON has one character for all bytes that are not: a ticket would be for
// somebody else, whom the revocations of id do not name.
func (id *Identity) isText() bool {
	for _, s := range slices.Concat([]string{id.Issuer, id.Subject, id.TokenID, id.OIDCSession, id.ACR}, id.Scopes, id.AMR) {
		if !utf8.ValidString(s) {
			return false
		}
	}
	return true
}

// issueTicket stores a ticket for id, which token stood for, under a text that
// nobody else has seen.
func (c *core) issueTicket(ctx context.Context, p *policy, id *Identity, token string, use TicketFor) (string, error) {
	if !id.isText() {
		return "", &Rejection{Reason: ReasonInternal, Err: errors.New("the identity has a name that is not UTF-8, which no ticket can carry; write it in hex or base64")}
	}
	t := &ticket{
		Issuer: id.Issuer, Subject: id.Subject, TokenID: id.TokenID, OIDCSession: id.OIDCSession,
		Scopes: id.Scopes, IssuedAt: id.IssuedAt, AuthTime: id.AuthTime, Expiry: id.Expiry,
		ACR: id.ACR, AMR: id.AMR, Claims: id.Claims,
		Skew: id.skew, Thumbprint: id.thumbprint, Content: []byte(id.content),
		Verifier: p.verifierName, Origin: use.Origin, Path: use.Path,
		Until: time.Now().Add(defaultTicket).UTC(),
	}
	if id.introspected != nil {
		t.Token, t.Claims = token, nil
	}
	plain, err := json.Marshal(t)
	if err != nil {
		return "", &Rejection{Reason: ReasonInternal, Err: fmt.Errorf("the identity is not for JSON: %w", err)}
	}
	if len(plain) > mostTicketed {
		return "", &Rejection{Reason: ReasonInternal, Err: fmt.Errorf("an identity of %d bytes fits no ticket, which takes %d", len(plain), mostTicketed)}
	}
	var secret [ticketBytes]byte
	rand.Read(secret[:]) // never fails
	text := base64.RawURLEncoding.EncodeToString(secret[:])
	put := store.Put{Ticket: text, Data: sealTicket(text, plain), TTL: defaultTicket}
	if err := c.store.Do(ctx, &put); err != nil {
		return "", &Rejection{Reason: ReasonUnavailable, Err: err}
	}
	if put.Err != nil {
		return "", &Rejection{Reason: ReasonUnavailable, Err: put.Err}
	}
	return text, nil
}

// ticketSeal encrypts under a key that the ticket alone gives: the store, which
// knows a hash of it, can neither read an identity nor make one. Each key seals
// one text, so the nonce may be fixed.
func ticketSeal(text string) cipher.AEAD {
	key := sha256.Sum256([]byte("wssecure ticket seal:" + text))
	block, err := aes.NewCipher(key[:])
	if err != nil {
		panic(err) // the key has 32 bytes
	}
	seal, err := cipher.NewGCM(block)
	if err != nil {
		panic(err) // AES has blocks of 16 bytes
	}
	return seal
}

func sealTicket(text string, plain []byte) []byte {
	seal := ticketSeal(text)
	return seal.Seal(nil, make([]byte, seal.NonceSize()), plain, nil)
}

func openTicket(text string, sealed []byte) (*ticket, error) {
	seal := ticketSeal(text)
	plain, err := seal.Open(nil, make([]byte, seal.NonceSize()), sealed, nil)
	if err != nil {
		return nil, err
	}
	d := json.NewDecoder(strings.NewReader(string(plain)))
	d.UseNumber()
	t := new(ticket)
	return t, d.Decode(t)
}

// isTicket reports whether text has the form of a ticket: no other is looked for
// in the store.
func isTicket(text string) bool {
	if len(text) != ticketLength {
		return false
	}
	for i := range len(text) {
		switch c := text[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
		default:
			return false
		}
	}
	return true
}

// shown is the ticket of one handshake on its way from the first batch, which
// reads it, to the last, which spends it.
type shown struct {
	asked bool
	read  store.Redeem
	until time.Time
}

// showsTicket reports whether there is a ticket to look for.
func (a *attempt) showsTicket() bool {
	return a.creds.ticket && a.creds.fault == "" && isTicket(a.creds.text)
}

// readTicket reads the ticket unless the batch of checkRate has.
func (a *attempt) readTicket() error {
	t := &a.ticket
	if !t.asked {
		t.asked = true
		t.read = store.Redeem{Ticket: a.creds.text, Keep: true}
		if err := a.store.Do(a.r.Context(), &t.read); err != nil {
			t.read = store.Redeem{Err: err}
		}
	}
	return t.read.Err
}

// checkTicket is checkToken for a ticket: nothing is spent.
func (a *attempt) checkTicket() (*Identity, error) {
	if !a.showsTicket() {
		return nil, a.refuse(ReasonTokenInvalid, "no ticket by its form", "43 characters of base64url")
	}
	if err := a.readTicket(); err != nil {
		return nil, unavailable(err)
	}
	if !a.ticket.read.OK {
		return nil, a.refuseUnknownTicket("a ticket that is spent, older than 30 seconds, or was never issued")
	}
	t, err := openTicket(a.creds.text, a.ticket.read.Data)
	if err != nil {
		return nil, &Rejection{Reason: ReasonTokenInvalid, Err: fmt.Errorf("the ticket does not open: %w", err)}
	}
	a.ticket.until = t.Until
	switch {
	case t.Verifier != a.policy.verifierName:
		return nil, a.refuse(ReasonTokenInvalid, "a ticket of a guard with other verifiers", "one of this guard")
	case t.Origin != a.ticketOrigin():
		return nil, a.refuse(ReasonTokenInvalid, "a ticket for the Origin "+orNone(t.Origin), orNone(a.ticketOrigin()))
	case t.Path != "" && t.Path != a.askedPath():
		return nil, a.refuse(ReasonTokenInvalid, "a ticket for the path "+t.Path, a.askedPath())
	}
	if t.Token != "" {
		return a.verifyAgain(t.Token)
	}
	return t.identity(), nil
}

// verifyAgain asks for the identity behind a token that is introspected: its
// session must be asked about again, for which the token itself is needed.
func (a *attempt) verifyAgain(text string) (*Identity, error) {
	id, err := a.verify(text)
	if err != nil {
		rejection := *asRejection(err, ReasonUnavailable)
		rejection.Err = without(rejection.Err, text)
		return nil, &rejection
	}
	return id, nil
}

func (a *attempt) refuseUnknownTicket(seen string) error {
	a.forgedAgain = !a.badTokens.first(a.creds.text)
	return a.refuse(ReasonTokenForged, seen, "a ticket that is good")
}

// ticketOrigin is the request's Origin in the spelling that tickets are bound to.
func (a *attempt) ticketOrigin() string {
	value := first(a.r.Header[headerOrigin])
	if o, err := origin.Parse(value); err == nil {
		return o.String()
	}
	return value // "" or "null": checkOrigin admits no other
}

// askedPath is the path as the client wrote it: a router may have cut r.URL.
func (a *attempt) askedPath() string {
	if u, err := url.ParseRequestURI(a.r.RequestURI); err == nil {
		return u.EscapedPath()
	}
	return a.r.URL.EscapedPath()
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

// redeemed is a ticket that a handshake has taken out of the store and whose 101
// may still fail to come.
type redeemed struct {
	put   store.Put
	until time.Time
}

func (t *shown) redeemed() *redeemed {
	return &redeemed{store.Put{Ticket: t.read.Ticket, Data: t.read.Data}, t.until}
}

// putBack makes the ticket good again for the rest of its time: a refused
// handshake must not have spent what the next one needs.
func (c *core) putBack(t *redeemed) {
	t.put.TTL = min(time.Until(t.until), defaultTicket)
	if t.put.TTL > 0 {
		c.quietly(&t.put)
	}
}
