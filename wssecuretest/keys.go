package wssecuretest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	_ "crypto/sha256" // RS256, PS256, ES256, HS256
	_ "crypto/sha512" // the 384 and 512 forms
	"encoding/binary"
	"sync"
)

// families are the kinds of key an issuer has, in the order of its JWKS.
var families = []string{"RS", "PS", "ES", "Ed"}

// A signingKey is one private key and how it is announced.
type signingKey struct {
	id, alg string
	private crypto.Signer
}

// processKeys are made once: two RSA keys take a second.
var processKeys = sync.OnceValue(func() map[string]signingKey {
	keys := map[string]signingKey{}
	for _, fam := range families {
		keys[fam] = newKey(fam)
	}
	return keys
})

func newKey(fam string) signingKey {
	switch fam {
	case "RS":
		return signingKey{"rs", "RS256", must(rsa.GenerateKey(rand.Reader, 2048))}
	case "PS":
		return signingKey{"ps", "PS256", must(rsa.GenerateKey(rand.Reader, 2048))}
	case "ES":
		return signingKey{"es", "ES256", must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))}
	case "Ed":
		_, private, err := ed25519.GenerateKey(rand.Reader)
		return signingKey{"ed", "EdDSA", must(private, err)}
	}
	panic("wssecuretest: no key signs algorithm family " + fam)
}

// public is the key as a JWK (RFC 7517, RFC 8037).
func (k signingKey) public() map[string]any {
	jwk := map[string]any{"kid": k.id, "alg": k.alg, "use": "sig"}
	switch pub := k.private.Public().(type) {
	case *rsa.PublicKey:
		jwk["kty"] = "RSA"
		jwk["n"] = segment(pub.N.Bytes())
		jwk["e"] = segment(minimal(pub.E))
	case *ecdsa.PublicKey:
		point := must(pub.Bytes()) // 4, x, y
		jwk["kty"], jwk["crv"] = "EC", "P-256"
		jwk["x"], jwk["y"] = segment(point[1:33]), segment(point[33:])
	case ed25519.PublicKey:
		jwk["kty"], jwk["crv"], jwk["x"] = "OKP", "Ed25519", segment(pub)
	}
	return jwk
}

func minimal(n int) []byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(n))
	for b[0] == 0 {
		b = b[1:]
	}
	return b
}

// family is the part of a JWS algorithm name that says which key signs it.
func family(alg string) string { return alg[:min(2, len(alg))] }

// PublicKey is the key that verifies what Sign signs with alg; nil for HMAC and none.
func (i *Issuer) PublicKey(alg string) crypto.PublicKey {
	i.mu.Lock()
	defer i.mu.Unlock()
	key, ok := i.keys[family(alg)]
	if !ok {
		return nil
	}
	return key.private.Public()
}

func (i *Issuer) signature(alg string, input []byte) []byte {
	if alg == "none" {
		return nil
	}
	if family(alg) == "HS" {
		return hmacOf(alg, i.Secret, input)
	}
	i.mu.Lock()
	key, ok := i.keys[family(alg)]
	i.mu.Unlock()
	if !ok {
		panic("wssecuretest: cannot sign with " + alg)
	}
	if alg == "EdDSA" {
		return must(key.private.Sign(nil, input, crypto.Hash(0)))
	}
	hash := hashOf(alg)
	sum := digest(hash, input)
	switch private := key.private.(type) {
	case *rsa.PrivateKey:
		if family(alg) == "PS" {
			return must(rsa.SignPSS(rand.Reader, private, hash, sum, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}))
		}
		return must(rsa.SignPKCS1v15(rand.Reader, private, hash, sum))
	case *ecdsa.PrivateKey:
		if alg != "ES256" {
			break
		}
		r, s, err := ecdsa.Sign(rand.Reader, private, sum)
		if err != nil {
			panic("wssecuretest: " + err.Error())
		}
		// JWS wants both numbers at full length (RFC 7518, section 3.4), not ASN.1.
		return append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	}
	panic("wssecuretest: cannot sign with " + alg)
}

func hmacOf(alg string, secret, input []byte) []byte {
	mac := hmac.New(hashOf(alg).New, secret)
	mac.Write(input)
	return mac.Sum(nil)
}

func hashOf(alg string) crypto.Hash {
	if len(alg) == 5 {
		switch alg[2:] {
		case "256":
			return crypto.SHA256
		case "384":
			return crypto.SHA384
		case "512":
			return crypto.SHA512
		}
	}
	panic("wssecuretest: cannot sign with " + alg)
}

func digest(hash crypto.Hash, input []byte) []byte {
	h := hash.New()
	h.Write(input)
	return h.Sum(nil)
}

// must is for what fails only when the machine does.
func must[T any](v T, err error) T {
	if err != nil {
		panic("wssecuretest: " + err.Error())
	}
	return v
}
