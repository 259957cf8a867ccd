package main

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/wssecure/wssecure/cmd/wssecure/internal/endpoint"
	"github.com/wssecure/wssecure/cmd/wssecure/internal/finding"
	"github.com/wssecure/wssecure/cmd/wssecure/internal/report"
	"github.com/wssecure/wssecure/internal/attack"
	"github.com/wssecure/wssecure/internal/quote"
)

func (q *request) targets(named []string) error {
	if len(named) == 0 {
		return errors.New("no target; write wssecure scan wss://host/path")
	}
	for i, text := range named {
		u, err := endpoint.Parse(text)
		if err != nil {
			// Not the text itself: it may hold a secret.
			return fmt.Errorf("target %d: %w", i+1, err)
		}
		q.urls = append(q.urls, u)
	}
	if q.options.Connect == "" {
		return nil
	}
	if len(named) > 1 {
		return errors.New("--connect: goes with one target")
	}
	if _, _, err := net.SplitHostPort(q.options.Connect); err != nil {
		return fmt.Errorf("--connect: %q; write host:port", quote.Cut(q.options.Connect, quote.Value))
	}
	return nil
}

// limits refuses what would switch a bound off.
func (q *request) limits() error {
	o := q.options
	var faults []error
	for _, n := range []struct {
		flag      string
		value     int
		min, most int
	}{{"conns", o.Conns, 1, 1000}, {"rate", o.Rate, 1, 10_000}, {"count", o.Count, 1, 1_000_000}} {
		if n.value < n.min || n.value > n.most {
			faults = append(faults, fmt.Errorf("--%s: %d; write %d to %d", n.flag, n.value, n.min, n.most))
		}
	}
	if o.Timeout < 100*time.Millisecond || o.Timeout > time.Minute {
		faults = append(faults, fmt.Errorf("--timeout: %v; write 100ms to 1m", o.Timeout))
	}
	if o.Patience < 0 || o.Patience > 10*time.Minute {
		faults = append(faults, fmt.Errorf("--patience: %v; write 0s to 10m", o.Patience))
	}
	if o.MaxTime < time.Second || o.MaxTime > time.Hour {
		faults = append(faults, fmt.Errorf("--max-time: %v; write 1s to 1h", o.MaxTime))
	}
	if n, err := strconv.ParseUint(o.Plain, 10, 16); o.Plain != "" && (err != nil || n == 0) {
		faults = append(faults, fmt.Errorf("--plain-port: %q; write 1 to 65535", quote.Cut(o.Plain, quote.Value)))
	}
	return errors.Join(append(faults, report.CheckFormat(q.format))...)
}

// place says where the token goes.
func (q *request) place(text string) error {
	if strings.ContainsFunc(q.options.Token, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return errors.New(tokenVariable + ": holds a blank, a line end or a character that no header takes")
	}
	kind, name, named := strings.Cut(text, ":")
	p := &q.options.Place
	switch kind {
	case "bearer":
		p.Kind = attack.InBearer
	case "subprotocol":
		p.Kind = attack.InSubprotocol
	case "cookie":
		p.Kind = attack.InCookie
	case "query":
		p.Kind = attack.InQuery
	default:
		return fmt.Errorf("--token-in: %q; write bearer, subprotocol, cookie:NAME or query:NAME", quote.Cut(text, quote.Value))
	}
	p.Name = name
	switch {
	case kind == "bearer" && named:
		return errors.New("--token-in: bearer has no name")
	case (kind == "cookie" || kind == "query") && !isToken(name), named && !isToken(name):
		return fmt.Errorf("--token-in: %s wants a name, as in %s:session", kind, kind)
	}
	return nil
}

// isToken is the token of RFC 9110 section 5.6.2.
func isToken(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r)
	})
}

func (q *request) trust(file string) error {
	if file == "" {
		return nil
	}
	if q.options.AnyCA {
		return errors.New("--ca and --insecure-ca: the second takes any chain; remove one")
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("--ca: %w", err)
	}
	q.options.Roots = x509.NewCertPool()
	if !q.options.Roots.AppendCertsFromPEM(pem) {
		return fmt.Errorf("--ca: %s holds no PEM certificate", file)
	}
	return nil
}

func (q *request) offer(subprotocols string) error {
	if origin := q.options.Origin; origin != "" {
		u, err := url.Parse(origin)
		if err != nil || u.Scheme == "" || u.Host == "" || u.Path != "" || u.RawQuery != "" || u.User != nil || u.Fragment != "" {
			return fmt.Errorf("--origin: %q; write scheme://host, as in https://app.example.com", quote.Cut(origin, quote.Value))
		}
	}
	if subprotocols == "" {
		return nil
	}
	for name := range strings.SplitSeq(subprotocols, ",") {
		if name = strings.TrimSpace(name); !isToken(name) {
			return fmt.Errorf("--subprotocol: %q is no name of a subprotocol", quote.Cut(name, quote.Value))
		}
		q.options.Subprotocols = append(q.options.Subprotocols, name)
	}
	return nil
}

func (q *request) want(least string) error {
	if least == "" {
		return nil
	}
	var err error
	if q.least, err = finding.ParseGrade(least); err != nil {
		return fmt.Errorf("--min-grade: %w", err)
	}
	return nil
}
