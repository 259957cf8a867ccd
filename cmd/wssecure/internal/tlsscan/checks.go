// Package tlsscan looks at a target's TLS from below: which versions, suites and groups it takes from clients of any age,
// and what its certificate chain is worth.
package tlsscan

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/wssecure/wssecure/cmd/wssecure/internal/endpoint"
	"github.com/wssecure/wssecure/cmd/wssecure/internal/finding"
	"github.com/wssecure/wssecure/internal/quote"
)

// Checks are those of TLS and of the certificate; on a ws:// target they do not apply.
func Checks() []endpoint.Check {
	all := append(protocolChecks(), certificateChecks()...)
	for i, c := range all {
		all[i].Run = func(ctx context.Context, e *endpoint.Endpoint) finding.Verdict {
			if e.TLS == nil {
				return finding.Left("the target is ws://, without TLS")
			}
			return c.Run(ctx, e)
		}
	}
	return all
}

func protocolChecks() []endpoint.Check {
	const profile = "SetTLS(Intermediate), the default: TLS 1.2 and 1.3, AEAD suites with forward secrecy"
	return endpoint.Each(finding.Rule{
		Group: "tls", Option: profile, Refs: []string{"RFC 9325", "CWE-327"},
		Fix: "offer TLS 1.2 and 1.3 with ECDHE and AEAD suites only (Mozilla's Intermediate profile)",
	},
		version("tls-ssl3", "a client of SSL 3.0", finding.High, ssl30, "RFC 7568", "POODLE reads cookies and tokens out of SSL 3.0"),
		version("tls-1-0", "a client of TLS 1.0", finding.Medium, tls10, "RFC 8996", "BEAST, MD5 and SHA-1 in the handshake; browsers have given it up"),
		version("tls-1-1", "a client of TLS 1.1", finding.Medium, tls11, "RFC 8996", "MD5 and SHA-1 in the handshake; browsers have given it up"),
		endpoint.Check{Rule: finding.Rule{
			ID: "tls-1-3-missing", Title: "a client of TLS 1.3", Severity: finding.Low, Refs: []string{"RFC 8446"},
			Why: "the handshake, with the server's name and certificate, stays readable, and downgrades are harder to see",
			Fix: "offer TLS 1.3 beside 1.2",
		}, Run: offersTLS13},
		suites("tls-null", "suites without encryption", finding.Critical, nullSuites, "RFC 9325 4.1", "everybody on the way reads and changes all"),
		suites("tls-anonymous", "suites without a certificate", finding.Critical, anonSuites, "RFC 9325 4.1", "anybody on the way can stand for the server"),
		suites("tls-export", "export suites", finding.High, exportSuites, "CVE-2015-0204", "FREAK and Logjam break their keys in hours"),
		suites("tls-rc4", "RC4 suites", finding.High, rc4Suites, "RFC 7465", "RC4's biases give away cookies and tokens"),
		suites("tls-3des", "suites with blocks of 64 bits (3DES, DES, IDEA)", finding.Medium, smallBlock, "CVE-2016-2183", "Sweet32: a socket that stays open long collects the traffic that is needed"),
		suites("tls-rsa-kex", "suites with RSA key exchange", finding.Medium, rsaSuites, "CVE-2017-13099", "recorded traffic opens once the key is lost; ROBOT and its kin decrypt by asking the server"),
		suites("tls-cbc", "CBC suites", finding.Low, cbcSuites, "CVE-2013-0169", "Lucky 13 and its kin: each implementation must hide its timing"),
		endpoint.Check{Rule: finding.Rule{
			ID: "tls-dhe-short", Title: "a Diffie-Hellman exchange with a short prime", Severity: finding.High, Refs: []string{"CVE-2015-4000", "RFC 9325 4.1"},
			Why: "Logjam: a prime below 2,048 bits can be broken ahead of time",
			Fix: "no DHE suites, or a prime of 2,048 bits and more",
		}, Run: shortPrime},
		endpoint.Check{Rule: finding.Rule{
			ID: "tls-group-weak", Title: "elliptic curves below 256 bits", Severity: finding.Medium, Refs: []string{"RFC 8422", "SP 800-52r2"},
			Why: "the session keys are weaker than the suites promise",
			Fix: "offer X25519MLKEM768, X25519, P-256 and P-384",
		}, Run: weakCurves},
		endpoint.Check{Rule: finding.Rule{
			ID: "tls-hybrid-missing", Title: "key exchange that holds against quantum computers", Severity: finding.Info, Refs: []string{"FIPS 203"},
			Why:    "traffic recorded now can be read once such a machine is there",
			Fix:    "offer X25519MLKEM768 first",
			Option: "the default of both profiles: X25519MLKEM768 first",
		}, Run: hybrid},
		endpoint.Check{Rule: finding.Rule{
			ID: "tls-compression", Title: "TLS compression", Severity: finding.High, Refs: []string{"CVE-2012-4929"},
			Why: "CRIME: the length of what is sent gives away cookies and tokens",
			Fix: "switch TLS compression off",
		}, Run: compression},
		endpoint.Check{Rule: finding.Rule{
			ID: "tls-renegotiation", Title: "renegotiation without RFC 5746", Severity: finding.Medium, Refs: []string{"CVE-2009-3555", "RFC 5746"},
			Why: "an attacker's first bytes become part of the victim's request",
			Fix: "switch renegotiation off, or update the TLS library",
		}, Run: renegotiation},
		endpoint.Check{Rule: finding.Rule{
			ID: "tls-alpn-ignored", Title: "a client that asks for an unknown protocol (ALPN)", Severity: finding.Low, Refs: []string{"RFC 7301 3.2", "CVE-2021-3618"},
			Why:    "ALPACA: a connection meant for another service with the same certificate is taken all the same",
			Fix:    "refuse a client whose ALPN names nothing that is spoken here: alert no_application_protocol",
			Option: "TLSConfig or Harden",
		}, Run: alpn},
	)
}

// ask makes one handshake's beginning. A server that hangs up on it, or gives a reason that has nothing to do with it, has
// refused it only if it still begins one with a client of today: it may have had enough of this address.
func ask(ctx context.Context, e *endpoint.Endpoint, h hello, wantKey bool) (answer, error) {
	a, err := begin(ctx, e, h, wantKey)
	var no refused
	if errors.As(err, &no) && !slices.Contains(telling, no.why) && !served(ctx, e) {
		return a, fmt.Errorf("%s, and for a client of today as well", no.why)
	}
	return a, err
}

// telling are the alerts that speak of what was offered.
var telling = []string{"alert handshake_failure", "alert protocol_version", "alert insufficient_security"}

// served reports whether the server still begins the handshake that it began at first.
func served(ctx context.Context, e *endpoint.Endpoint) bool {
	h := hello{version: e.TLS.Version, suites: tls13Suites}
	if h.version < tls13 {
		h.suites = join(aeadSuites, oldSuites)
	}
	_, err := begin(ctx, e, h, false)
	return err == nil
}

func begin(ctx context.Context, e *endpoint.Endpoint, h hello, wantKey bool) (answer, error) {
	h.serverName = strings.TrimSuffix(e.URL.Host, ".") // RFC 6066 section 3
	if h.groups == nil {
		h.groups = commonGroups
	}
	nc, err := e.Dial(ctx)
	if err != nil {
		return answer{}, err
	}
	defer nc.Close()
	if err := nc.SetDeadline(time.Now().Add(e.Timeout)); err != nil {
		return answer{}, err
	}
	if _, err := nc.Write(h.bytes()); err != nil {
		return answer{}, ended(nil, err)
	}
	return readAnswer(nc, wantKey)
}

// refusal is the verdict on a handshake that was not begun.
func refusal(err error) finding.Verdict {
	var no refused
	if errors.As(err, &no) {
		return finding.Held("refused: " + no.why)
	}
	return finding.Unclear(quote.Cut(err.Error(), quote.Value))
}

func version(id, title string, s finding.Severity, v uint16, ref, why string) endpoint.Check {
	return endpoint.Check{
		Rule: finding.Rule{ID: id, Title: title, Severity: s, Refs: []string{ref}, Why: why, Fix: "offer TLS 1.2 and 1.3 only"},
		Run: func(ctx context.Context, e *endpoint.Endpoint) finding.Verdict {
			a, err := ask(ctx, e, hello{version: v, suites: oldSuites}, false)
			if err != nil {
				return refusal(err)
			}
			if a.version != v {
				return finding.Unclear(fmt.Sprintf("the server chose version %#04x, which was not offered", a.version))
			}
			return finding.Broken(fmt.Sprintf("%s with %s", tls.VersionName(a.version), suiteName(a.suite)))
		},
	}
}

func offersTLS13(ctx context.Context, e *endpoint.Endpoint) finding.Verdict {
	if e.TLS.Version == tls.VersionTLS13 {
		return finding.Held(tls.VersionName(e.TLS.Version))
	}
	return finding.Broken("at best " + tls.VersionName(e.TLS.Version))
}

// suites asks for a class of suites, and again without what was chosen, until the server refuses: the finding names all
// of them.
func suites(id, title string, s finding.Severity, class []uint16, ref, why string) endpoint.Check {
	return endpoint.Check{
		Rule: finding.Rule{ID: id, Title: title, Severity: s, Refs: []string{ref}, Why: why},
		Run: func(ctx context.Context, e *endpoint.Endpoint) finding.Verdict {
			offered, chosen := slices.Clone(class), []uint16(nil)
			for len(offered) > 0 {
				a, err := ask(ctx, e, hello{version: tls12, suites: offered}, false)
				i := slices.Index(offered, a.suite)
				switch {
				case err != nil && len(chosen) == 0:
					return refusal(err)
				case err == nil && i < 0 && len(chosen) == 0:
					return finding.Unclear("the server chose " + suiteName(a.suite) + ", which was not offered")
				case err != nil, i < 0:
					return finding.Broken(suiteNames(chosen))
				}
				chosen = append(chosen, a.suite)
				offered = slices.Delete(offered, i, i+1)
			}
			return finding.Broken(suiteNames(chosen))
		},
	}
}

func shortPrime(ctx context.Context, e *endpoint.Endpoint) finding.Verdict {
	a, err := ask(ctx, e, hello{version: tls12, suites: dheSuites}, true)
	switch {
	case err != nil:
		return refusal(err)
	case a.primeBits == 0:
		return finding.Unclear("the server sent no prime")
	case a.primeBits < 2048:
		return finding.Broken(fmt.Sprintf("a prime of %d bits with %s", a.primeBits, suiteName(a.suite)))
	}
	return finding.Held(fmt.Sprintf("a prime of %d bits", a.primeBits))
}

func weakCurves(ctx context.Context, e *endpoint.Endpoint) finding.Verdict {
	a, err := ask(ctx, e, hello{version: tls12, suites: join(aeadSuites, cbcSuites[:8]), groups: weakGroups}, false)
	if err != nil {
		return refusal(err)
	}
	return finding.Broken("taken, with " + suiteName(a.suite))
}

func hybrid(ctx context.Context, e *endpoint.Endpoint) finding.Verdict {
	a, err := ask(ctx, e, hello{version: tls13, suites: tls13Suites, groups: hybridGroups}, false)
	var no refused
	switch {
	case errors.As(err, &no):
		return finding.Broken("refused: " + no.why)
	case err != nil:
		return refusal(err)
	case !slices.Contains(hybridGroups, a.group):
		return finding.Broken("not chosen")
	}
	return finding.Held(tls.CurveID(a.group).String())
}

func compression(ctx context.Context, e *endpoint.Endpoint) finding.Verdict {
	a, err := ask(ctx, e, hello{version: tls12, suites: join(aeadSuites, oldSuites), deflate: true}, false)
	switch {
	case err != nil:
		return refusal(err)
	case a.compression != 0:
		return finding.Broken(fmt.Sprintf("compression method %d", a.compression))
	}
	return finding.Held("not chosen")
}

func renegotiation(ctx context.Context, e *endpoint.Endpoint) finding.Verdict {
	a, err := ask(ctx, e, hello{version: tls12, suites: join(aeadSuites, oldSuites)}, false)
	switch {
	case err != nil:
		return refusal(err)
	case !a.renegotiation:
		return finding.Broken("ServerHello without renegotiation_info")
	}
	return finding.Held("renegotiation_info")
}

// unspoken is a protocol that nobody has registered.
const unspoken = "wssecure-unspoken"

func alpn(ctx context.Context, e *endpoint.Endpoint) finding.Verdict {
	nc, err := e.Dial(ctx)
	if err != nil {
		return finding.Unclear(quote.Cut(err.Error(), quote.Value))
	}
	defer nc.Close()
	config := endpoint.OldTLS()
	config.ServerName, config.InsecureSkipVerify, config.NextProtos = e.URL.Host, true, []string{unspoken}
	config.GetClientCertificate = e.ShowCert
	ctx, cancel := context.WithTimeout(ctx, e.Timeout)
	defer cancel()
	tc := tls.Client(nc, config)
	err = tc.HandshakeContext(ctx)
	var alert tls.AlertError
	switch {
	case err == nil && tc.ConnectionState().NegotiatedProtocol == unspoken:
		return finding.Broken("the protocol was taken")
	case err == nil:
		return finding.Broken("the connection was taken, without a protocol")
	case errors.As(err, &alert):
		return finding.Held("refused: " + alert.Error())
	case ctx.Err() != nil:
		return finding.Unclear("no answer")
	case !served(ctx, e):
		return finding.Unclear("connection closed, and for a client of today as well")
	}
	return finding.Held("refused: connection closed")
}
