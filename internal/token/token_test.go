package token_test

import (
	"bytes"
	"crypto"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	_ "embed"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wssecure/wssecure/internal/token"
)

//go:embed testdata/tokens.txt
var tokensFile string

func TestTokens(t *testing.T) {
	fixtureSet() // keys are made outside fake time
	for _, r := range readRows(t, tokensFile) {
		t.Run(r.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				v := fixture(t, rulesNamed(t, r.rules))
				text := r.token()
				got, err := v.Verify(t.Context(), text)
				if answer(err) != r.answer {
					t.Fatalf("got %s (%v), want %s", answer(err), err, r.answer)
				}
				if (err == nil) != (got != nil) || v.Known(text) != (err == nil) {
					t.Errorf("claims %v, known %v, error %v", got, v.Known(text), err)
				}
				if again := judge(v, text); again != r.answer {
					t.Errorf("the second time: got %s, want %s", again, r.answer)
				}
			})
		})
	}
}

// wantAnswer judges text twice by a fresh fixture, since the second answer comes from elsewhere.
func wantAnswer(t *testing.T, what, text, want string) {
	t.Helper()
	v := fixture(t, rules())
	for range 2 {
		if got := judge(v, text); got != want {
			t.Errorf("%s: got %s, want %s", what, got, want)
		}
	}
}

func TestSerialization(t *testing.T) {
	es := fixtureSet()["es"]
	good := es.token(nil)
	part := strings.Split(good, ".")

	t.Run("J-30, A-14 size", func(t *testing.T) {
		for _, bound := range []int{8192, 32768} {
			r := rules()
			r.MaxSize = bound
			v := fixture(t, r)
			for over, want := range map[int]string{0: "ok", 1: "invalid"} {
				if got := judge(v, padded(t, es, bound+over)); got != want {
					t.Errorf("%d bytes of %d: got %s, want %s", bound+over, bound, got, want)
				}
			}
		}
	})
	t.Run("J-30, J-17 segments", func(t *testing.T) {
		for _, text := range []string{
			"", ".", "..", "...", part[0], part[0] + "." + part[1], good + ".", "." + good, good + "." + part[2],
			good + "." + part[0] + "." + part[1],
			"." + part[1] + "." + part[2], part[0] + ".." + part[2], part[0] + "." + part[1] + ".",
			strings.Repeat(".", 8192),
		} {
			wantAnswer(t, text, text, "invalid")
		}
	})
	t.Run("J-30 refusing costs no memory", func(t *testing.T) {
		v := fixture(t, rules())
		long := part[0] + "." + strings.Repeat("A", 8000)
		for _, text := range []string{strings.Repeat(".", 1<<20), strings.Repeat(".", 8192), long, long + ".A", long + ".=", good + "="} {
			if n := testing.AllocsPerRun(50, func() { _, _ = v.Verify(t.Context(), text) }); n > 1 {
				t.Errorf("%.20s…: %v allocations", text, n)
			}
		}
	})
	t.Run("J-32", func(t *testing.T) {
		for _, alien := range []string{"=", "==", "+", "/", " ", "\t", "\r", "\n", "\r\n", "\x00", "\xa0", "\xef\xbb\xbf", "é"} {
			for i := range part {
				for _, at := range []int{0, len(part[i]) / 2, len(part[i])} {
					changed := slices.Clone(part)
					changed[i] = part[i][:at] + alien + part[i][at:]
					wantAnswer(t, fmt.Sprintf("%q in segment %d", alien, i), strings.Join(changed, "."), "invalid")
				}
			}
		}
	})
	t.Run("J-32 length 4n+1", func(t *testing.T) {
		for i := range part {
			changed := slices.Clone(part)
			for len(changed[i])%4 != 1 {
				changed[i] += "A"
			}
			wantAnswer(t, fmt.Sprintf("segment %d", i), strings.Join(changed, "."), "invalid")
		}
	})
	t.Run("J-32 spare bits", func(t *testing.T) {
		// Blanks around the JSON make every length of the two segments, signatures have 64 bytes: two spare bits.
		for _, blank := range []string{"", " ", "  "} {
			part := strings.Split(es.mint(es.header()+blank, claims(nil)+blank), ".")
			for i := range part {
				if len(part[i])%4 == 0 {
					continue
				}
				for _, other := range []string{"B", "C", "E", "I", "j", "_"} {
					changed := slices.Clone(part)
					changed[i] = part[i][:len(part[i])-1] + other
					before, after := must(base64.RawURLEncoding.DecodeString(part[i])), must(base64.RawURLEncoding.DecodeString(changed[i]))
					if bytes.Equal(before, after) && changed[i] != part[i] {
						wantAnswer(t, fmt.Sprintf("segment %d", i), strings.Join(changed, "."), "invalid")
					}
				}
			}
		}
	})
	t.Run("J-34", func(t *testing.T) {
		for _, text := range []string{
			`{"payload":"` + part[1] + `","protected":"` + part[0] + `","signature":"` + part[2] + `"}`,
			`{"payload":"` + part[1] + `","signatures":[{"protected":"` + part[0] + `","signature":"` + part[2] + `"}]}`,
			`{"payload":"` + part[1] + `","header":{"alg":"ES256"},"signature":"` + part[2] + `"}`,
			part[0] + ".." + part[2], `"` + good + `"`, "Bearer " + good,
		} {
			wantAnswer(t, text, text, "invalid")
		}
	})
	t.Run("J-16 invalid UTF-8", func(t *testing.T) {
		wantAnswer(t, "header", es.mint(`{"alg":"ES256","kid":"es","x":"`+"\xff"+`"}`, claims(nil)), "invalid")
		wantAnswer(t, "payload", es.mint(es.header(), strings.Replace(claims(nil), "alice", "al\xc0\xafice", 1)), "invalid")
	})
	t.Run("J-06 kid of 6 KB", func(t *testing.T) {
		text := pair{strings.Repeat("k", 6<<10), "ES256", ecKey()}.mint(`{"alg":"ES256","kid":"`+strings.Repeat("k", 5000)+`"}`, claims(nil))
		_, err := fixture(t, rules()).Verify(t.Context(), text)
		if answer(err) != "invalid" || len(err.Error()) > 200 {
			t.Errorf("got %v", err)
		}
	})
}

// padded returns a good token of exactly size bytes.
func padded(t *testing.T, p pair, size int) string {
	t.Helper()
	for pad := size*3/4 - 400; pad < size; pad++ {
		for blanks := range 3 {
			input := b64([]byte(p.header()+strings.Repeat(" ", blanks))) + "." + b64([]byte(claims(map[string]any{"pad": strings.Repeat("x", pad)})))
			missing := size - (len(input) + 1 + 86)
			if missing == 0 {
				return input + "." + b64(p.sign(input))
			}
			pad += max(0, missing/2-8)
		}
	}
	t.Fatalf("no token has %d bytes", size)
	return ""
}

func TestSignature(t *testing.T) {
	es, rs256, ed := fixtureSet()["es"], fixtureSet()["rs"], fixtureSet()["ed"]
	signed := func(p pair, sign []byte) string {
		input, _, _ := cutLast(p.token(nil))
		return input + "." + b64(sign)
	}
	n := elliptic.P256().Params().N
	one := big.NewInt(1)
	zero := new(big.Int)
	t.Run("J-18", func(t *testing.T) {
		for what, sign := range map[string][]byte{
			"r = 0":        rs(elliptic.P256(), zero, one),
			"s = 0":        rs(elliptic.P256(), one, zero),
			"both 0":       make([]byte, 64),
			"r = n":        rs(elliptic.P256(), n, one),
			"s = n":        rs(elliptic.P256(), one, n),
			"both n":       rs(elliptic.P256(), n, n),
			"63 bytes":     make([]byte, 63),
			"65 bytes":     make([]byte, 65),
			"1 byte":       {1},
			"all ones":     bytes.Repeat([]byte{0xff}, 64),
			"DER":          must(ecKey().Sign(rand.Reader, make([]byte, 32), crypto.SHA256)),
			"of a P-384":   make([]byte, 96),
			"of an RS256":  rs256.sign("x"),
			"1,000 zeroes": make([]byte, 1000),
		} {
			wantAnswer(t, "ES256 "+what, signed(es, sign), "forged")
		}
		for what, sign := range map[string][]byte{
			"short": make([]byte, 255), "long": make([]byte, 257), "zero": make([]byte, 256),
			"modulus": rsaKey().N.Bytes(), "one byte": {0},
		} {
			wantAnswer(t, "RS256 "+what, signed(rs256, sign), "forged")
		}
		input, sign, _ := cutLast(ed.token(nil))
		good := must(base64.RawURLEncoding.DecodeString(sign))
		wantAnswer(t, "EdDSA", input+"."+b64(good), "ok")
		wantAnswer(t, "EdDSA, S + L", input+"."+b64(plusL(good)), "forged")
		wantAnswer(t, "EdDSA, 63 bytes", input+"."+b64(good[:63]), "forged")
	})
	t.Run("J-18 another content", func(t *testing.T) {
		_, sign, _ := cutLast(es.token(map[string]any{"sub": "mallory"}))
		input, _, _ := cutLast(es.token(nil))
		wantAnswer(t, "signature of another token", input+"."+sign, "forged")
	})
	t.Run("J-18 one bad token is one failure a minute", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			v := fixture(t, rules())
			text := fixtureSet()["stranger"].token(nil)
			again := func() bool {
				_, err := v.Verify(t.Context(), text)
				var e *token.Error
				if !errors.As(err, &e) || e.Fault != token.Forged {
					t.Fatalf("got %v", err)
				}
				return e.Again
			}
			if again() {
				t.Error("not counted at first")
			}
			for range 998 {
				if !again() {
					t.Fatal("counted twice at once")
				}
			}
			time.Sleep(59 * time.Second)
			if !again() {
				t.Error("counted twice within a minute")
			}
			time.Sleep(time.Second)
			if again() {
				t.Error("not counted after a minute")
			}
			if !again() {
				t.Error("counted twice within the second minute")
			}
			time.Sleep(10 * time.Minute)
			if got := judge(v, text); got != "expired" {
				t.Errorf("past its exp: got %s", got)
			}
		})
	})
	t.Run("J-41", func(t *testing.T) {
		text := es.token(nil)
		input, sign, _ := cutLast(text)
		raw := must(base64.RawURLEncoding.DecodeString(sign))
		s := new(big.Int).SetBytes(raw[32:])
		twin := input + "." + b64(rs(elliptic.P256(), new(big.Int).SetBytes(raw[:32]), s.Sub(n, s)))
		v := fixture(t, rules())
		a, errA := v.Verify(t.Context(), text)
		b, errB := v.Verify(t.Context(), twin)
		other, errC := v.Verify(t.Context(), es.token(map[string]any{"sub": "bob"}))
		if errA != nil || errB != nil || errC != nil || text == twin {
			t.Fatal(errA, errB, errC)
		}
		if a.Content != b.Content || a.Content == other.Content {
			t.Error("content does not tell contents apart")
		}
		parts := strings.Split(text, ".")
		h := sha256.New()
		for _, segment := range parts[:2] {
			decoded := must(base64.RawURLEncoding.DecodeString(segment))
			h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(decoded))))
			h.Write(decoded)
		}
		if !bytes.Equal(h.Sum(nil), a.Content[:]) {
			t.Error("content is not the hash of decoded header and payload")
		}
	})
	t.Run("J-02", func(t *testing.T) {
		der := must(x509.MarshalPKIXPublicKey(&rsaKey().PublicKey))
		for what, secret := range map[string][]byte{
			"PEM": pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}),
			"DER": der,
			"JWK": must(json.Marshal(rs256.jwk())),
		} {
			wantAnswer(t, what, pair{"rs", "HS256", secret}.token(nil), "invalid")
		}
	})
	t.Run("J-04 own key in jwk", func(t *testing.T) {
		mallory := pair{"es", "ES256", strangeEC()}
		wantAnswer(t, "jwk", mallory.mint(`{"alg":"ES256","kid":"es","jwk":`+string(must(json.Marshal(mallory.jwk())))+`}`, claims(nil)), "invalid")
	})
}

func cutLast(text string) (before, after string, found bool) {
	i := strings.LastIndexByte(text, '.')
	return text[:i], text[i+1:], true
}

// plusL adds the order of the group to S, which gives a second signature to a verifier that does not look.
func plusL(sign []byte) []byte {
	l, _ := new(big.Int).SetString("7237005577332262213973186563042994240857116359379907606001950938285454250989", 10)
	s := slices.Clone(sign[32:])
	slices.Reverse(s)
	sum := new(big.Int).Add(new(big.Int).SetBytes(s), l).FillBytes(make([]byte, 32))
	slices.Reverse(sum)
	return append(slices.Clone(sign[:32]), sum...)
}

func TestClaims(t *testing.T) {
	v := fixture(t, rules())
	exp := time.Now().Unix() + 600
	c, err := v.Verify(t.Context(), fixtureSet()["ed"].token(map[string]any{
		"exp": exp, "iat": 1700000000.5, "auth_time": 1600000000, "jti": "j", "sid": "s", "acr": "mfa", "amr": []string{"pwd", "otp"},
		"scope": "ws:read  ws:write ", "scp": []string{"ws:write", "ws:admin"}, "n": json.Number("12345678901234567890"),
		"cnf": map[string]string{"x5t#S256": "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg0"},
	}))
	if err != nil {
		t.Fatal(err)
	}
	if c.Issuer != issuer || c.Subject != "alice" || c.TokenID != "j" || c.OIDCSession != "s" || c.ACR != "mfa" ||
		!slices.Equal(c.AMR, []string{"pwd", "otp"}) || c.Thumbprint != "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg0" {
		t.Errorf("got %+v", c)
	}
	if !c.Expiry.Equal(time.Unix(exp, 0)) || !c.AuthTime.Equal(time.Unix(1600000000, 0)) || !c.IssuedAt.Equal(time.Unix(1700000000, 5e8)) {
		t.Errorf("dates: %v %v %v", c.Expiry, c.AuthTime, c.IssuedAt)
	}
	if c.All["n"] != json.Number("12345678901234567890") {
		t.Errorf("a number became %v", c.All["n"])
	}
	t.Run("Z-02", func(t *testing.T) {
		if want := []string{"ws:read", "ws:write", "ws:admin"}; !slices.Equal(c.Scopes, want) {
			t.Errorf("got %q, want %q", c.Scopes, want)
		}
		c, err := v.Verify(t.Context(), fixtureSet()["ed"].token(map[string]any{"scp": "b a b"}))
		if err != nil || !slices.Equal(c.Scopes, []string{"b", "a"}) {
			t.Errorf("scp as a string: %q, %v", c.Scopes, err)
		}
		c, err = v.Verify(t.Context(), fixtureSet()["ed"].token(nil))
		if err != nil || len(c.Scopes) != 0 || !c.IssuedAt.IsZero() || c.AMR != nil {
			t.Errorf("none: %+v, %v", c, err)
		}
	})
}

func TestErrorsShowNoToken(t *testing.T) {
	es := fixtureSet()["es"]
	for _, text := range []string{
		fixtureSet()["stranger"].token(nil),
		es.token(map[string]any{"iss": "https://\x1b[31mevil.example\n" + strings.Repeat("x", 500)}),
		pair{"bad\nkid", "ES256", ecKey()}.mint(`{"alg":"ES256","kid":"bad\nkid"}`, claims(nil)),
		es.mint(es.header(), claims(nil)+"trailing"),
	} {
		_, err := fixture(t, rules()).Verify(t.Context(), text)
		if err == nil {
			t.Fatal("accepted")
		}
		said := err.Error()
		if len(said) > 200 || strings.ContainsFunc(said, func(c rune) bool { return c < ' ' }) {
			t.Errorf("unfit for a log: %q", said)
		}
		for _, segment := range strings.Split(text, ".") {
			if strings.Contains(said, segment[:20]) {
				t.Errorf("token text in %q", said)
			}
		}
	}
}

func TestPeekIssuer(t *testing.T) {
	es := fixtureSet()["es"]
	if iss, ok := token.PeekIssuer(fixtureSet()["stranger"].token(nil), 8192); iss != issuer || !ok {
		t.Errorf("got %q, %v", iss, ok)
	}
	for _, text := range []string{
		"", "opaque", "a.b.c", es.token(nil) + "=", es.token(map[string]any{"iss": nil}), es.token(map[string]any{"iss": 1}),
		es.token(map[string]any{"iss": ""}), es.mint(es.header(), `{"iss":"a","iss":"b"}`), es.mint(es.header(), `["iss"]`),
		es.token(map[string]any{"pad": strings.Repeat("x", 9000)}),
	} {
		if iss, ok := token.PeekIssuer(text, 8192); ok {
			t.Errorf("%.40s: got %q", text, iss)
		}
	}
}
