package token

import (
	"encoding/base64"
	"errors"
	"strings"

	"github.com/wssecure/wssecure/internal/quote"
	"github.com/wssecure/wssecure/internal/strictjson"
)

// What a header or a payload may hold. A JWT of any provider stays far below, and depth is stack.
var jsonLimits = strictjson.Limits{Depth: 32, Members: 4096}

// Prepared refusals: what a stranger can send at no cost must cost us no allocation.
var (
	errSize     = &Error{Fault: Invalid, Err: errors.New("longer than the bound set by MaxTokenSize")}
	errSegments = &Error{Fault: Invalid, Err: errors.New("not three segments (JWE, detached and JSON serialization are refused)")}
	errEmpty    = &Error{Fault: Invalid, Err: errors.New("a segment is empty")}
	errAlphabet = &Error{Fault: Invalid, Err: errors.New("a character outside base64url")}
	errSpelling = &Error{Fault: Invalid, Err: errors.New("a segment is not canonical base64url")}
	errAlg      = &Error{Fault: Invalid, Err: errors.New("alg is missing or not on the list of Algorithms")}
	errTyp      = &Error{Fault: Invalid, Err: errors.New("typ is not that of an access token")}
	errKid      = &Error{Fault: Invalid, Err: errors.New("kid is not a string")}
)

// A compact is the compact serialization cut in its three segments. Only split makes one, so its segments are
// non-empty, of the base64url alphabet, and the one spelling of their content.
type compact struct {
	text                string
	head, payload, sign string
}

// sextet holds the six bits of each base64url character, and notSextet for every other byte.
var sextet = func() (t [256]byte) {
	for i := range t {
		t[i] = notSextet
	}
	for i, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") {
		t[c] = byte(i)
	}
	return t
}()

const notSextet = 0xff

func split(text string) (compact, *Error) {
	// Dots first: a megabyte of them is refused at the third (CVE-2025-30204).
	first := strings.IndexByte(text, '.')
	if first < 0 {
		return compact{}, errSegments
	}
	rest := text[first+1:]
	second := strings.IndexByte(rest, '.')
	if second < 0 || strings.IndexByte(rest[second+1:], '.') >= 0 {
		return compact{}, errSegments
	}
	c := compact{text: text, head: text[:first], payload: rest[:second], sign: rest[second+1:]}
	for _, segment := range [...]string{c.head, c.payload, c.sign} {
		if err := checkSegment(segment); err != nil {
			return compact{}, err
		}
	}
	return c, nil
}

func checkSegment(s string) *Error {
	if s == "" {
		return errEmpty
	}
	for i := range len(s) {
		if sextet[s[i]] == notSextet {
			return errAlphabet
		}
	}
	// Bits beyond the last whole byte must be zero: else one content has sixteen spellings, and whatever is keyed on
	// the text of a token has sixteen doors.
	last := sextet[s[len(s)-1]]
	switch len(s) % 4 {
	case 1:
		return errSpelling
	case 2:
		if last&0x0f != 0 {
			return errSpelling
		}
	case 3:
		if last&0x03 != 0 {
			return errSpelling
		}
	}
	return nil
}

// open returns what the signature covers, and payload and signature decoded, in one piece of memory.
func (c compact) open() (signed, payload, sign []byte, fault *Error) {
	enc := base64.RawURLEncoding
	head, size := len(c.head)+1, len(c.text)
	buf := make([]byte, 0, size+enc.DecodedLen(len(c.payload))+enc.DecodedLen(len(c.sign)))
	buf = append(buf, c.text...)
	buf, err := enc.AppendDecode(buf, buf[head:head+len(c.payload)])
	if err != nil {
		return nil, nil, nil, errSpelling
	}
	end := len(buf)
	if buf, err = enc.AppendDecode(buf, buf[size-len(c.sign):size]); err != nil {
		return nil, nil, nil, errSpelling
	}
	return buf[:head+len(c.payload)], buf[size:end], buf[end:], nil
}

// decode returns the bytes of a segment that checkSegment has passed.
func decode(segment string) ([]byte, *Error) {
	b, err := base64.RawURLEncoding.DecodeString(segment)
	if err != nil {
		return nil, errSpelling
	}
	return b, nil
}

// A header is a decoded header that obeys the rules.
type header struct {
	segment string // as it stood in the token
	decoded []byte
	alg     string
	kid     string
	hasKid  bool
}

// forbidden header members change what the signature covers, which key it is under, or what the payload is.
var forbidden = [...]string{"crit", "b64", "zip", "cty", "jwk", "jku", "x5u"}

// header decodes the header segment and judges it as far as that needs no key.
func (j *judge) header(segment string) (*header, *Error) {
	b, fault := decode(segment)
	if fault != nil {
		return nil, fault
	}
	m, err := strictjson.Object(b, jsonLimits)
	if err != nil {
		return nil, refuse(Invalid, "header: ", err)
	}
	h := &header{segment: segment, decoded: b}
	alg, isString := m["alg"].(string)
	if !isString || !j.algs[alg] {
		return nil, errAlg
	}
	h.alg = alg
	for _, name := range forbidden {
		if _, is := m[name]; is {
			return nil, &Error{Fault: Invalid, Err: errors.New("header has the member " + name)}
		}
	}
	if kid, is := m["kid"]; is {
		if h.kid, isString = kid.(string); !isString {
			return nil, errKid
		}
		h.hasKid = true
	}
	typ, is := m["typ"]
	if !j.typ(typ, is) {
		return nil, errTyp
	}
	return h, nil
}

// typ judges the typ member: a token made for another use (logout+jwt, dpop+jwt) is no credential here (RFC 8725 3.11).
func (j *judge) typ(value any, is bool) bool {
	if j.logout != nil {
		return j.logout.typ(value, is)
	}
	if !is {
		return j.rules.Type == ""
	}
	typ, isString := value.(string)
	if !isString {
		return false
	}
	const media = "application/"
	bare := typ
	if len(typ) > len(media) && equalFold(typ[:len(media)], media) {
		bare = typ[len(media):]
	}
	if j.rules.Type != "" {
		return equalFold(bare, j.rules.Type)
	}
	return equalFold(typ, "JWT") || equalFold(bare, "at+jwt")
}

// equalFold folds ASCII only: strings.EqualFold would take the Kelvin sign for a k.
func equalFold(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if lower(a[i]) != lower(b[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}

// PeekIssuer returns the iss of an unverified token, strictly parsed, to choose the verifier that is to judge it.
// It promises nothing else about the token.
func PeekIssuer(text string, maxSize int) (string, bool) {
	if len(text) > maxSize {
		return "", false
	}
	c, fault := split(text)
	if fault != nil {
		return "", false
	}
	b, fault := decode(c.payload)
	if fault != nil {
		return "", false
	}
	m, err := strictjson.Object(b, jsonLimits)
	if err != nil {
		return "", false
	}
	iss, is := m["iss"].(string)
	return iss, is && iss != ""
}

// refuse makes an Error of what happened.
func refuse(f Fault, what string, err error) *Error {
	return &Error{Fault: f, Err: &detail{what: what, err: err}}
}

// show makes an Error that shows an attacker's value to the operator, cut and quoted.
func show(f Fault, what, value string) *Error {
	return &Error{Fault: f, Err: errors.New(what + quote.Quoted(value, 64))}
}

// A detail puts words before another error, without fmt.
type detail struct {
	what string
	err  error
}

func (d *detail) Error() string { return d.what + d.err.Error() }

func (d *detail) Unwrap() error { return d.err }
