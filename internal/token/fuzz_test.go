package token_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/wssecure/wssecure/internal/token"
)

// FuzzToken judges a token signed by us, of any header and payload, and any text as it is. What is accepted must pass a
// check that shares no code with ours.
func FuzzToken(f *testing.F) {
	// The same in every process of a fuzzing run.
	p := pair{"ed", "EdDSA", ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, 32))}
	v, err := token.NewStatic(jwks(p.jwk(), pair{"other", "EdDSA", edKey()}.jwk()), rules(), same)
	if err != nil {
		f.Fatal(err)
	}
	for _, r := range readRows(f, tokensFile) {
		header, payload := r.texts(p.header())
		header = strings.NewReplacer("ES256", "EdDSA", `"es"`, `"ed"`).Replace(header)
		f.Add(header, payload, p.mint(header, payload))
	}
	f.Add("", "", "eyJhbGciOiJub25lIn0.e30.")
	f.Fuzz(func(t *testing.T, header, payload, text string) {
		for _, text := range []string{p.mint(header, payload), text} {
			for range 2 {
				c, err := v.Verify(context.Background(), text)
				var e *token.Error
				if err != nil && (!errors.As(err, &e) || e.Err == nil || len(e.Error()) > 400) {
					t.Fatalf("unfit error %v", err)
				}
				if err != nil {
					continue
				}
				if err := recheck(text, p.private.(ed25519.PrivateKey).Public().(ed25519.PublicKey), c); err != nil {
					t.Fatalf("accepted %q: %v", text, err)
				}
			}
			if iss, ok := token.PeekIssuer(text, 8192); ok && !strings.Contains(jsonOf(text), "iss") && !strings.Contains(jsonOf(text), `\u`) {
				t.Fatalf("issuer %q from nowhere", iss)
			}
		}
	})
}

func jsonOf(text string) string {
	part := strings.Split(text, ".")
	b, _ := base64.RawURLEncoding.DecodeString(part[min(1, len(part)-1)])
	return string(b)
}

// recheck returns why text should not have been accepted.
func recheck(text string, key ed25519.PublicKey, c *token.Claims) error {
	if len(text) > 8192 {
		return errors.New("too long")
	}
	part := strings.Split(text, ".")
	if len(part) != 3 {
		return errors.New("not three segments")
	}
	decoded := make([][]byte, 3)
	for i := range part {
		var err error
		if decoded[i], err = base64.RawURLEncoding.Strict().DecodeString(part[i]); err != nil || b64(decoded[i]) != part[i] || part[i] == "" {
			return fmt.Errorf("segment %d: %v", i, err)
		}
	}
	if !ed25519.Verify(key, []byte(part[0]+"."+part[1]), decoded[2]) {
		return errors.New("signature")
	}
	header, err := plainObject(decoded[0])
	if err != nil {
		return err
	}
	if header["alg"] != "EdDSA" || header["kid"] != "ed" {
		return errors.New("alg or kid")
	}
	for _, name := range []string{"crit", "b64", "zip", "cty", "jwk", "jku", "x5u"} {
		if header[name] != nil {
			return errors.New(name)
		}
	}
	if typ, is := header["typ"]; is {
		name, _ := typ.(string)
		if !slices.Contains([]string{"jwt", "at+jwt", "application/at+jwt"}, strings.ToLower(name)) {
			return errors.New("typ")
		}
	}
	payload, err := plainObject(decoded[1])
	if err != nil {
		return err
	}
	exp, _ := payload["exp"].(float64)
	if exp <= float64(time.Now().Unix())-31 || exp > 253402300800 {
		return errors.New("exp")
	}
	for _, name := range []string{"nbf", "iat"} {
		if date, is := payload[name]; is && !(date.(float64) > 0 && date.(float64) < float64(time.Now().Unix()+32)) {
			return errors.New(name)
		}
	}
	sub, _ := payload["sub"].(string)
	if payload["iss"] != issuer || sub == "" || sub != c.Subject || strings.ContainsFunc(sub, func(r rune) bool { return r < ' ' }) {
		return errors.New("iss or sub")
	}
	list, _ := payload["aud"].([]any)
	if payload["aud"] != audience && !slices.Contains(list, any(audience)) {
		return errors.New("aud")
	}
	for _, name := range []string{"events", "at_hash", "c_hash"} {
		if _, is := payload[name]; is {
			return errors.New(name)
		}
	}
	if cnf, is := payload["cnf"]; is {
		if m, _ := cnf.(map[string]any); len(m) != 1 || m["x5t#S256"] != c.Thumbprint {
			return errors.New("cnf")
		}
	}
	return nil
}

// plainObject decodes one JSON object by encoding/json, and refuses what that lets pass.
func plainObject(b []byte) (map[string]any, error) {
	if !utf8.Valid(b) {
		return nil, errors.New("UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(b))
	if err := walk(d, 0); err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("trailing data")
	}
	var m map[string]any
	if err := json.Unmarshal(b, &m); err != nil {
		// A number beyond float64, where no rule asks for one.
		d := json.NewDecoder(bytes.NewReader(b))
		d.UseNumber()
		if err := d.Decode(&m); err != nil {
			return nil, err
		}
		for name, value := range m {
			if n, is := value.(json.Number); is {
				m[name], _ = n.Float64()
			}
		}
	}
	if m == nil {
		return nil, errors.New("no object")
	}
	return m, nil
}

// walk refuses duplicate names and depth over 32.
func walk(d *json.Decoder, depth int) error {
	d.UseNumber()
	t, err := d.Token()
	if err != nil || t != json.Delim('{') && t != json.Delim('[') {
		return err
	}
	if depth == 32 {
		return errors.New("depth")
	}
	names := map[string]bool{}
	for d.More() {
		if t == json.Delim('{') {
			name, err := d.Token()
			if err != nil {
				return err
			}
			if names[name.(string)] {
				return fmt.Errorf("duplicate %q", name)
			}
			names[name.(string)] = true
		}
		if err := walk(d, depth+1); err != nil {
			return err
		}
	}
	_, err = d.Token()
	return err
}
