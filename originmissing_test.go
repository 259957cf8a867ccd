package wssecure_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"testing"
	"time"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/internal/probe"
	"github.com/wssecure/wssecure/wssecuretest"
)

// TestMissingOrigin holds what a browser sends by itself apart from what only a
// program can put there.
func TestMissingOrigin(t *testing.T) {
	const cookie = "__Host-sid"
	issuer := wssecuretest.NewIssuer(t, "")
	start := func(opts ...wssecure.Option) *wssecuretest.Server {
		return wssecuretest.Start(t, wssecuretest.Config{Options: append([]wssecure.Option{wssecure.AllowOrigins(wssecuretest.Origin)}, opts...)})
	}
	all := issuer.Option(wssecure.FromBearer(), wssecure.FromSubprotocol(), wssecure.FromCookie(cookie),
		wssecure.FromHeader("X-Token"), wssecure.InsecureFromQuery("access_token", why))
	proxies := wssecure.TrustProxies("X-Forwarded-For", "private")
	every := start(all, proxies)
	only := start(issuer.Option(wssecure.FromCookie(cookie)))
	bearer := start(issuer.Option(wssecure.FromBearer()))
	strict := start(all, proxies, wssecure.RequireOrigin())
	missing := start(all, proxies, wssecure.InsecureAllowMissingOrigin(why))

	token := issuer.Token("alice")
	without := func(lines ...string) *probe.Handshake {
		hs := fresh(probe.Fixture(wssecuretest.Host, ""))
		for _, line := range lines {
			hs.Add(line)
		}
		return hs
	}
	query := func(hs *probe.Handshake) *probe.Handshake { hs.Target = "/ws?access_token=" + token; return hs }
	const gone = wssecure.ReasonOriginMissing
	for _, tc := range []struct {
		name   string
		s      *wssecuretest.Server
		hs     *probe.Handshake
		status int
		reason wssecure.Reason
	}{
		{"O-27 cookie", every, without("Cookie: " + cookie + "=" + token), 403, gone},
		{"O-27 query token", every, query(without()), 403, gone},
		{"O-27 FromHeader", every, without("X-Token: " + token), 403, gone},
		{"O-27 Basic", every, without("Authorization: Basic dTpw"), 403, gone},
		{"O-27 a source not enabled", only, without("Authorization: Bearer " + token), 403, gone},
		{"O-27 a subprotocol not enabled", bearer, without("Sec-WebSocket-Protocol: bearer, " + token), 403, gone},
		{"O-27 none", every, without(), 403, gone},
		{"O-28 Authorization", every, without("Authorization: Bearer " + token), 101, ""},
		{"O-28 subprotocol", every, without("Sec-WebSocket-Protocol: bearer, " + token), 101, ""},
		{"O-28 RequireOrigin, Authorization", strict, without("Authorization: Bearer " + token), 403, gone},
		{"O-28 RequireOrigin, subprotocol", strict, without("Sec-WebSocket-Protocol: bearer, " + token), 403, gone},
		{"O-28 RequireOrigin, an Origin", strict, without("Authorization: Bearer "+token, "Origin: "+wssecuretest.Origin), 101, ""},
		{"O-29 beside an enabled cookie", every, without("Authorization: Bearer "+token, "Cookie: "+cookie+"=junk"), 101, ""},
		{"O-29 beside another cookie", bearer, without("Authorization: Bearer "+token, "Cookie: a=b"), 101, ""},
		{"O-29 Sec-Fetch-Mode websocket", every, without("Authorization: Bearer "+token, "Sec-Fetch-Mode: websocket"), 101, ""},
		{"O-29 F rows hold", every, without("Authorization: Bearer "+token, "Sec-Fetch-Mode: cors"), 403, wssecure.ReasonFetchMetadata},
		{"O-29 a good cookie does not help a bad token", every, without("Authorization: Bearer x.y.z", "Cookie: "+cookie+"="+token), 401, wssecure.ReasonTokenInvalid},
		{"O-41 Authorization of bad form", every, without("Authorization: Bearer a b"), 400, wssecure.ReasonCredential},
		{"O-41 subprotocol of bad form", every, without("Sec-WebSocket-Protocol: bearer"), 400, wssecure.ReasonCredential},
		{"O-41 no token", every, without("Authorization: Bearer abc"), 401, wssecure.ReasonTokenInvalid},
		{"O-41 two", every, without("Authorization: Bearer "+token, "Sec-WebSocket-Protocol: bearer, "+token), 400, wssecure.ReasonCredential},
		{"O-42 cookie", missing, without("Cookie: " + cookie + "=" + token), 101, ""},
		{"O-42 query token", missing, query(without()), 101, ""},
		{"O-42 none", missing, without(), 401, wssecure.ReasonTokenMissing},
		{"O-42 F rows hold", missing, without("Cookie: "+cookie+"="+token, "Sec-Fetch-Site: none"), 403, wssecure.ReasonFetchMetadata},
		{"O-42 a bad Origin", missing, without("Cookie: "+cookie+"="+token, "Origin: https://evil.net"), 403, wssecure.ReasonOrigin},
		{"O-26 an empty Origin is not a missing one", every, without("Authorization: Bearer "+token, "Origin:"), 403, wssecure.ReasonOrigin},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if tc.status == 101 {
				wantAdmitted(t, tc.s, tc.hs)
				return
			}
			wantRefused(t, tc.s, tc.hs, tc.status, tc.reason)
		})
	}
}

// clientCertificate is one that a pool of its own vouches for.
func clientCertificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	rootKey, leafKey := newKey(t), newKey(t)
	root := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "clients"},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "sensor 7"},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	pool := x509.NewCertPool()
	for _, c := range []*x509.Certificate{root, leaf} {
		c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
		der, err := x509.CreateCertificate(rand.Reader, c, root, publicOf(c, root, rootKey, leafKey), rootKey)
		if err != nil {
			t.Fatal(err)
		}
		if c == leaf {
			return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: leafKey}, pool
		}
		made, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		pool.AddCert(made)
	}
	return tls.Certificate{}, nil
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func publicOf(c, root *x509.Certificate, rootKey, leafKey *ecdsa.PrivateKey) any {
	if c == root {
		return rootKey.Public()
	}
	return leafKey.Public()
}

func TestMissingOriginWithClientCertificate(t *testing.T) {
	cert, pool := clientCertificate(t)
	s := wssecuretest.Start(t, wssecuretest.Config{Options: []wssecure.Option{wssecure.AllowOrigins(wssecuretest.Origin), wssecure.RequireClientCert(pool)}})
	for _, tc := range []struct {
		name string
		line string
		want int
	}{
		{"O-40 a program", "", 101},
		{"O-40 with a Cookie", "Cookie: a=b", 403},
		{"O-40 with an empty Cookie", "Cookie:", 403},
		{"O-40 with Sec-Fetch-Mode", "Sec-Fetch-Mode: websocket", 403},
		{"O-40 with Sec-Fetch-Storage-Access", "sec-fetch-storage-access: none", 403},
		{"O-40 with an Origin and a Cookie", "Origin: " + wssecuretest.Origin + "\r\nCookie: a=b", 101},
	} {
		t.Run(tc.name, func(t *testing.T) {
			config := &tls.Config{RootCAs: s.CertPool, ServerName: wssecuretest.Host, Certificates: []tls.Certificate{cert}}
			c, err := probe.Dial(context.Background(), s.Addr, config, "")
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			hs := fresh(probe.Fixture(wssecuretest.Host, ""))
			if tc.line != "" {
				hs.Add(tc.line)
			}
			if err := c.Send(hs.Bytes()); err != nil {
				t.Fatal(err)
			}
			r, err := c.Response()
			if err != nil || r.Status != tc.want {
				t.Fatalf("answer %+v %v, want %d", r, err, tc.want)
			}
			if tc.want == 403 {
				wantProblem(t, s, r, wssecure.ReasonOriginMissing)
			}
		})
	}
	t.Run("O-40 without a certificate", func(t *testing.T) {
		wantRefused(t, s, probe.Fixture(wssecuretest.Host, ""), 403, wssecure.ReasonOriginMissing)
	})
}
