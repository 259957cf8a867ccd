// Package scan takes one target from first contact to grade.
package scan

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/wssecure/wssecure/cmd/wssecure/internal/endpoint"
	"github.com/wssecure/wssecure/cmd/wssecure/internal/finding"
	"github.com/wssecure/wssecure/cmd/wssecure/internal/report"
	"github.com/wssecure/wssecure/cmd/wssecure/internal/tlsscan"
	"github.com/wssecure/wssecure/cmd/wssecure/internal/webscan"
	"github.com/wssecure/wssecure/internal/attack"
	"github.com/wssecure/wssecure/internal/probe"
	"github.com/wssecure/wssecure/internal/quote"
)

// Options are what the user allows, and what an honest client of the target would send.
type Options struct {
	Token        string
	Place        attack.Place
	Origin       string // empty means the target's own
	Subprotocols []string

	Roots   *x509.CertPool // nil means the system's
	AnyCA   bool
	Cert    *tls.Certificate // of the client; nil: none
	Connect string           // host:port to dial in place of the URL's
	Plain   string           // port without TLS beside the target's

	Active   bool
	Patience time.Duration // for which the endpoint lets a peer stall; zero as the attacks that wait say

	Timeout time.Duration // of one step
	MaxTime time.Duration // of one target
	Conns   int           // open at once
	Rate    int           // begun a second
	Count   int           // in all, for one target

	Version string
}

// Progress hears of each check as it ends.
type Progress func(done, all int, last string)

// Rules are all that a scan can find, in the order in which it looks.
func Rules() []finding.Rule {
	var rules []finding.Rule
	for _, c := range checks() {
		rules = append(rules, c.Rule)
	}
	for _, a := range attack.All() {
		rules = append(rules, finding.OfAttack(a))
	}
	return rules
}

func checks() []endpoint.Check { return append(tlsscan.Checks(), webscan.Checks()...) }

// Target scans one target. What it cannot do is in the result's Error.
func Target(ctx context.Context, u *endpoint.URL, o Options, progress Progress) report.Target {
	ctx, cancel := context.WithTimeout(ctx, o.MaxTime)
	defer cancel()
	began := time.Now()
	s := &scan{
		options:  o,
		hidden:   hide(o.Token, u.Secrets()),
		progress: progress,
		end: &endpoint.Endpoint{
			URL: u, Connect: o.Connect, Roots: o.Roots, AnyCA: o.AnyCA, Cert: o.Cert, Plain: o.Plain, Origin: o.Origin, Timeout: o.Timeout,
			Pace: endpoint.NewPace(o.Conns, o.Rate, o.Count), Agent: "wssecure-scan/" + o.Version,
		},
		result: report.Target{URL: u.String()},
	}
	err := s.run(ctx)
	if ctx.Err() != nil {
		err = s.cutShort(ctx) // whatever else failed then failed by that
	}
	if err != nil {
		s.result.Error = s.hidden.redact(err.Error())
	} else {
		s.result.Grade, s.result.Because = finding.GradeOf(s.result.Findings, s.result.Admitted)
	}
	for i := range s.result.Findings {
		f := &s.result.Findings[i]
		f.Sent, f.Got, f.Detail = s.hidden.redact(f.Sent), s.hidden.redact(f.Got), s.hidden.redact(f.Detail)
	}
	finding.Sort(s.result.Findings, Rules())
	s.result.Took = time.Since(began)
	return s.result
}

type scan struct {
	options  Options
	hidden   hidden
	end      *endpoint.Endpoint
	progress Progress
	result   report.Target

	mu   sync.Mutex
	done int
	all  int
}

func (s *scan) run(ctx context.Context) error {
	own, catalogue := checks(), attack.All()
	s.all = len(own) + len(catalogue)
	if err := s.end.Reach(ctx); err != nil {
		return err
	}
	s.result.TLS = facts(s.end.TLS)
	target := s.target()
	if err := s.meet(ctx, target); err != nil {
		// What is wrong with the certificate may be all that the user needs.
		if s.end.TLS != nil {
			s.look(ctx, tlsscan.Checks())
		}
		return err
	}
	s.look(ctx, own)
	target.Pace.Total = max(1, s.end.Pace.Left())
	if err := target.Prepare(ctx); err != nil {
		return fmt.Errorf("the handshake was answered before, and now: %w", s.end.AnswerFault(err))
	}
	// A server that has had enough of us by now shows no more than one that never admitted us.
	if admitted, got := target.Admitted(); s.result.Admitted && !admitted {
		s.result.Admitted = false
		s.note("The honest handshake was admitted at first, and refused after the checks of TLS and pages: " + got)
	}
	attack.Run(ctx, target, catalogue, func(r attack.Result) {
		s.add(finding.Finding{Rule: finding.OfAttack(r.Attack), Verdict: r.Verdict})
	})
	return nil
}

// cutShort says why a scan did not come to its end.
func (s *scan) cutShort(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("the scan took longer than %v; raise --max-time", s.options.MaxTime)
	}
	return errors.New("interrupted")
}

// target is the endpoint as the catalogue sees it.
func (s *scan) target() *attack.Target {
	t := &attack.Target{
		URL: s.end.URL.Raw(), Addr: s.end.At(), TLS: s.tls(),
		Origin: s.options.Origin, Subprotocols: s.options.Subprotocols, Place: s.options.Place,
		Lines:  []string{"User-Agent: " + s.end.Agent},
		Active: s.options.Active, Timeout: s.options.Timeout, Patience: s.options.Patience,
		Pace: attack.Pace{Conns: s.options.Conns, PerSecond: s.options.Rate},
	}
	switch {
	case s.options.Token == "":
	case !s.end.Trusts():
		s.note("The token was not sent: anybody could stand behind this connection.")
	default:
		t.Token = func() string { return s.options.Token }
	}
	return t
}

// tls verifies where a token is sent, and looks away where the chain is a finding already.
func (s *scan) tls() *tls.Config {
	c := endpoint.OldTLS()
	c.RootCAs = s.options.Roots
	c.InsecureSkipVerify = s.options.AnyCA || s.end.Untrusted != nil
	c.GetClientCertificate = s.end.ShowCert
	return c
}

// meet makes the first requests: an ordinary one, and the honest handshake. Its error says that this is no WebSocket
// endpoint.
func (s *scan) meet(ctx context.Context, t *attack.Target) error {
	tongue, err := s.end.Hear(ctx)
	if err != nil && s.end.Page == nil && tongue != "" {
		return fmt.Errorf("%s speaks %s", s.end.Addr(), tongue)
	}
	// Without a token first: what is no WebSocket endpoint need not see one.
	anonymous, err := s.end.Ask(ctx, s.end.Anonymous())
	if err != nil {
		return fmt.Errorf("%s does not answer a handshake: %w", s.end.Addr(), s.end.AnswerFault(err))
	}
	if err := notSocket(anonymous); err != nil {
		return err
	}
	if err := t.Prepare(ctx); err != nil {
		return fmt.Errorf("%s does not answer a second handshake: %w", s.end.Addr(), s.end.AnswerFault(err))
	}
	answer, err := s.end.Ask(ctx, t.Honest())
	if err != nil {
		return fmt.Errorf("%s does not answer a third handshake: %w", s.end.Addr(), s.end.AnswerFault(err))
	}
	s.end.Answer = answer
	s.result.Answer = s.hidden.redact(quote.Cut(answer.StatusLine, quote.Value))
	s.end.Admitted, _ = t.Admitted()
	s.result.Admitted = s.end.Admitted
	if err := notSocket(answer); err != nil {
		return err
	}
	switch {
	case s.result.Admitted:
	case s.end.AsksForCert.Load() && s.end.Cert == nil:
		s.note("The honest handshake was refused, and the target asks for a client certificate; give one with --cert FILE and --key FILE.")
	case t.Token == nil:
		s.note("The honest handshake was refused. If it wants a token, put one into WSSECURE_TOKEN; if it wants another Origin, name it with --origin.")
	}
	return nil
}

func (s *scan) note(text string) { s.result.Notes = append(s.result.Notes, s.hidden.redact(text)) }

// refusals are the answers of an endpoint that is there and does not want us.
var refusals = []int{101, 400, 401, 403, 407, 421, 429, 503}

// misdialled is what servers say to plaintext on their TLS port: Go, nginx, Apache.
var misdialled = []string{"HTTP request to an HTTPS server", "plain HTTP request was sent to HTTPS port", "plain HTTP to an SSL-enabled server port"}

func notSocket(answer *probe.Response) error {
	status, shown := answer.Status, quote.Cut(answer.StatusLine, quote.Value)
	for _, text := range misdialled {
		if status == 400 && bytes.Contains(answer.Body, []byte(text)) {
			return errors.New("this port speaks TLS; try wss://")
		}
	}
	switch {
	case slices.Contains(refusals, status):
		return nil
	case status/100 == 3:
		return fmt.Errorf("no WebSocket endpoint: the handshake is redirected (%s); browsers do not follow", shown)
	case status == 426:
		return fmt.Errorf("no WebSocket endpoint: %s; does a proxy drop the Upgrade header?", shown)
	case status == 404:
		return fmt.Errorf("no WebSocket endpoint: %s; is the path right?", shown)
	}
	return fmt.Errorf("no WebSocket endpoint: %s", shown)
}

// look makes the scanner's own checks, a few at once.
func (s *scan) look(ctx context.Context, list []endpoint.Check) {
	places := make(chan struct{}, s.options.Conns)
	results := make([]finding.Finding, len(list))
	var running sync.WaitGroup
	for i, c := range list {
		places <- struct{}{}
		running.Go(func() {
			defer func() { <-places }()
			results[i] = finding.Finding{Rule: c.Rule, Verdict: c.Run(ctx, s.end)}
			s.step(c.ID)
		})
	}
	running.Wait()
	s.result.Findings = append(s.result.Findings, results...)
}

func (s *scan) add(f finding.Finding) {
	s.result.Findings = append(s.result.Findings, f)
	s.step(f.ID)
}

func (s *scan) step(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.done++
	s.progress(s.done, s.all, id)
}

func facts(state *tls.ConnectionState) *report.TLS {
	if state == nil {
		return nil
	}
	t := &report.TLS{Version: tls.VersionName(state.Version), Suite: tls.CipherSuiteName(state.CipherSuite)}
	if state.CurveID != 0 {
		t.Group = state.CurveID.String()
	}
	for _, c := range state.PeerCertificates[:min(len(state.PeerCertificates), 10)] {
		t.Chain = append(t.Chain, report.Certificate{
			Subject: quote.Cut(c.Subject.String(), quote.Value), Issuer: quote.Cut(c.Issuer.String(), quote.Value),
			Key: tlsscan.KeyName(c), Signature: c.SignatureAlgorithm.String(), From: c.NotBefore.UTC(), To: c.NotAfter.UTC(),
		})
	}
	return t
}
