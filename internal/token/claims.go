package token

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wssecure/wssecure/internal/quote"
)

// Claims are what an accepted token says. They are shared by all who present it: read, never write.
type Claims struct {
	Issuer, Subject, TokenID, OIDCSession string    // iss, sub, jti, sid
	Scopes                                []string  // of scope, then of scp, each once
	IssuedAt, AuthTime, Expiry            time.Time // iat, auth_time, exp; zero when absent
	ACR                                   string
	AMR                                   []string
	Thumbprint                            string // cnf x5t#S256: the client certificate the token is bound to
	// Content is one for all signatures of one content: SHA-256 of decoded header and payload, each after its length.
	Content [32]byte
	All     map[string]any // every claim, numbers as json.Number
}

// claims judges a decoded payload at the time now, and returns besides the claims the moment the token ceases to be
// good: exp and skew, or its greatest age, whichever is first. Names are compared exactly; encoding/json's folding of
// struct fields would read EXP as exp.
func (j *judge) claims(all map[string]any, now time.Time) (*Claims, time.Time, *Error) {
	c, notBefore, fault := readClaims(all)
	if fault != nil {
		return nil, time.Time{}, fault
	}
	if c.Expiry.IsZero() {
		return nil, time.Time{}, errNoExp
	}
	// Who issued it, and for whom, before its dates: "expired" is said of our own tokens only.
	if fault := j.parties(c, all); fault != nil {
		return nil, time.Time{}, fault
	}
	ends, fault := j.dates(c, notBefore, now)
	if fault != nil {
		return nil, time.Time{}, fault
	}
	return c, ends, nil
}

// readClaims reads claims that are of the right type where they are at all.
func readClaims(all map[string]any) (c *Claims, notBefore time.Time, fault *Error) {
	c = &Claims{All: all}
	r := reader{all: all}
	c.Expiry = r.date("exp")
	c.IssuedAt = r.date("iat")
	c.AuthTime = r.date("auth_time")
	notBefore = r.date("nbf")
	c.Issuer = r.text("iss")
	c.Subject = r.text("sub")
	c.TokenID = r.text("jti")
	c.OIDCSession = r.text("sid")
	c.ACR = r.text("acr")
	c.AMR = r.methods()
	c.Scopes = r.scopes()
	c.Thumbprint = r.thumbprint()
	return c, notBefore, r.bad
}

var (
	errNoExp    = &Error{Fault: Invalid, Err: errors.New("claim exp is missing")}
	errNoIat    = &Error{Fault: Invalid, Err: errors.New("claim iat is missing, and MaxTokenAge asks for it")}
	errNoSub    = &Error{Fault: Invalid, Err: errors.New("claim sub is missing or empty")}
	errSub      = &Error{Fault: Invalid, Err: errors.New("claim sub has a control character")}
	errAhead    = &Error{Fault: Invalid, Err: errors.New("claim nbf or iat lies in the future")}
	errExpired  = &Error{Fault: Expired, Err: errors.New("claim exp lies in the past")}
	errTooOld   = &Error{Fault: Expired, Err: errors.New("claim iat is older than MaxTokenAge")}
	errAudience = &Error{Fault: Invalid, Err: errors.New("claim aud does not name us")}
	errAudForm  = &Error{Fault: Invalid, Err: errors.New("claim aud is neither a string nor a list of strings")}
	errIDToken  = &Error{Fault: Invalid, Err: errors.New("an ID token (at_hash, c_hash or token_use), no access token; see AllowIDToken")}
	errLogout   = &Error{Fault: Invalid, Err: errors.New("a logout token (events)")}
)

// dates judges the dates, and returns when the token ceases to be good.
func (j *judge) dates(c *Claims, notBefore, now time.Time) (time.Time, *Error) {
	skew := j.rules.Skew
	ends := c.Expiry.Add(skew)
	if c.Expiry.IsZero() { // of an introspected token; a JWT without exp has not come so far
		ends = time.Unix(endOf9999, 0)
	}
	if !now.Before(ends) {
		return ends, errExpired
	}
	if notBefore.After(now.Add(skew)) || c.IssuedAt.After(now.Add(skew)) {
		return ends, errAhead
	}
	if j.rules.MaxAge == 0 {
		return ends, nil
	}
	if c.IssuedAt.IsZero() {
		return ends, errNoIat
	}
	oldest := c.IssuedAt.Add(j.rules.MaxAge + skew)
	if now.After(oldest) {
		return ends, errTooOld
	}
	if over := oldest.Add(1); over.Before(ends) {
		ends = over
	}
	return ends, nil
}

// parties judges who issued the token, for whom, about whom, and that it is an access token.
func (j *judge) parties(c *Claims, all map[string]any) *Error {
	if fault := j.issuer(c, all); fault != nil {
		return fault
	}
	if j.logout != nil {
		return j.logout.parties(c, all)
	}
	if fault := j.audience(all); fault != nil {
		return fault
	}
	if fault := c.checkSubject(); fault != nil {
		return fault
	}
	if fault := j.checkUse(all); fault != nil {
		return fault
	}
	if j.atJWT {
		for _, name := range [...]string{"iss", "exp", "aud", "sub", "client_id", "iat", "jti"} {
			if !has(all, name) {
				return show(Invalid, "RFC 9068 asks for the claim ", name)
			}
		}
	}
	return nil
}

func (c *Claims) checkSubject() *Error {
	if c.Subject == "" {
		return errNoSub
	}
	for i := range len(c.Subject) {
		if c.Subject[i] < ' ' {
			return errSub
		}
	}
	return nil
}

// checkUse refuses what was issued for something else than access.
func (j *judge) checkUse(all map[string]any) *Error {
	if has(all, "events") {
		return errLogout
	}
	if !j.rules.AllowID && (has(all, "at_hash") || has(all, "c_hash")) {
		return errIDToken
	}
	return nil
}

func (j *judge) issuer(c *Claims, all map[string]any) *Error {
	if j.tenants == nil {
		if c.Issuer != j.rules.Issuer {
			return otherThan("iss", j.rules.Issuer, c.Issuer)
		}
		return nil
	}
	tenant, is := j.tenants[c.Issuer]
	if !is {
		return show(Invalid, "claim iss is of no tenant served: ", c.Issuer)
	}
	if tid, is := all["tid"]; is && tid != tenant {
		return show(Invalid, "claim tid is not the tenant of iss ", c.Issuer)
	}
	return nil
}

func (j *judge) audience(all map[string]any) *Error {
	if name := j.rules.AudienceClaim; name != "" {
		if value, is := all[name].(string); !j.rules.AnyAudience && (!is || value != j.rules.Audience) {
			return otherThan(name, j.rules.Audience, value)
		}
		// Cognito: access and ID tokens of one client differ in token_use alone.
		if name == "client_id" && !j.asked && all["token_use"] != "access" {
			return errIDToken
		}
		return nil
	}
	aud, is := all["aud"]
	if !is {
		if j.rules.AnyAudience {
			return nil
		}
		return otherThan("aud", j.rules.Audience)
	}
	ours := j.rules.AnyAudience
	switch aud := aud.(type) {
	case string:
		ours = ours || aud == j.rules.Audience
	case []any:
		for _, member := range aud {
			name, is := member.(string)
			if !is {
				return errAudForm
			}
			ours = ours || name == j.rules.Audience
		}
	default:
		return errAudForm
	}
	if !ours {
		return otherThan("aud", j.rules.Audience, texts(aud)...)
	}
	return nil
}

// otherThan tells the developer of the two mistakes that everybody makes once, an issuer or an audience that is nearly the
// right one, by showing both.
func otherThan(claim, wanted string, seen ...string) *Error {
	text := "missing or empty"
	if s := strings.Join(seen, ", "); s != "" {
		text = quote.Quoted(s, 64)
	}
	return &Error{Fault: Invalid, Err: errors.New("claim " + claim + " is " + text + ", not " + quote.Quoted(wanted, 64))}
}

// texts are those of a claim that is a string or a list of them.
func texts(claim any) (all []string) {
	switch claim := claim.(type) {
	case string:
		return []string{claim}
	case []any:
		for _, member := range claim {
			if text, is := member.(string); is {
				all = append(all, text)
			}
		}
	}
	return all
}

func has(all map[string]any, name string) bool {
	_, is := all[name]
	return is
}

// A reader takes typed members out of a payload and keeps the first fault.
type reader struct {
	all map[string]any
	bad *Error
}

func (r *reader) fail(name, want string) {
	if r.bad == nil {
		r.bad = &Error{Fault: Invalid, Err: errors.New("claim " + name + " is not " + want)}
	}
}

func (r *reader) text(name string) string {
	value, is := r.all[name]
	if !is {
		return ""
	}
	s, is := value.(string)
	if !is {
		r.fail(name, "a string")
	}
	return s
}

func (r *reader) texts(name string) []string {
	value, is := r.all[name]
	if !is {
		return nil
	}
	list, is := value.([]any)
	if !is {
		r.fail(name, "a list of strings")
		return nil
	}
	texts := make([]string, 0, len(list))
	for _, member := range list {
		s, is := member.(string)
		if !is {
			r.fail(name, "a list of strings")
			return nil
		}
		texts = append(texts, s)
	}
	return texts
}

// methods reads amr (RFC 8176): strings, or as Supabase writes it objects that name the method beside its time.
func (r *reader) methods() []string {
	list, is := r.all["amr"].([]any)
	if !is {
		return r.texts("amr")
	}
	methods := make([]string, 0, len(list))
	for _, member := range list {
		if entry, is := member.(map[string]any); is {
			member = entry["method"]
		}
		method, is := member.(string)
		if !is {
			r.fail("amr", "a list of strings")
			return nil
		}
		methods = append(methods, method)
	}
	return methods
}

const endOf9999 = 253402300799 // the last second time.RFC3339 can write

// date reads a NumericDate (RFC 7519 2): seconds, a fraction allowed.
func (r *reader) date(name string) time.Time {
	value, is := r.all[name]
	if !is {
		return time.Time{}
	}
	number, is := value.(json.Number)
	if !is {
		r.fail(name, "a number")
		return time.Time{}
	}
	seconds, err := strconv.ParseFloat(string(number), 64)
	// Written so that NaN fails too.
	if err != nil || !(seconds > 0 && seconds <= endOf9999) {
		r.fail(name, "a date between 1970 and 9999")
		return time.Time{}
	}
	whole, fraction := math.Modf(seconds)
	return time.Unix(int64(whole), int64(fraction*1e9))
}

// scopes joins scope (RFC 8693 4.2: one string) and scp (Microsoft, Okta: a string or a list).
func (r *reader) scopes() []string {
	all := words(nil, r.text("scope"))
	if s, is := r.all["scp"].(string); is {
		return words(all, s)
	}
	for _, s := range r.texts("scp") {
		all = once(all, s)
	}
	return all
}

func words(list []string, s string) []string {
	if list == nil && s != "" {
		list = make([]string, 0, strings.Count(s, " ")+1)
	}
	for word := range strings.SplitSeq(s, " ") {
		list = once(list, word)
	}
	return list
}

func once(list []string, word string) []string {
	if word == "" || slices.Contains(list, word) {
		return list
	}
	return append(list, word)
}

// thumbprint reads cnf (RFC 7800). A confirmation we cannot check binds the token to a key nobody has proved, so any
// other member, jkt (DPoP) too, refuses the token.
func (r *reader) thumbprint() string {
	value, is := r.all["cnf"]
	if !is {
		return ""
	}
	cnf, _ := value.(map[string]any)
	print, is := cnf["x5t#S256"].(string)
	if !is || len(cnf) != 1 || len(print) != 43 || checkSegment(print) != nil {
		r.fail("cnf", "x5t#S256 alone")
		return ""
	}
	return print
}

// content hashes decoded header and payload, each after its length: one value for one content, whatever its signature.
func content(header, payload []byte) [32]byte {
	var size [8]byte
	h := sha256.New()
	for _, part := range [...][]byte{header, payload} {
		binary.BigEndian.PutUint64(size[:], uint64(len(part)))
		h.Write(size[:])
		h.Write(part)
	}
	var sum [32]byte
	h.Sum(sum[:0])
	return sum
}
