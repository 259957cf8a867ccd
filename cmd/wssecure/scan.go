package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/wssecure/wssecure/cmd/wssecure/internal/endpoint"
	"github.com/wssecure/wssecure/cmd/wssecure/internal/finding"
	"github.com/wssecure/wssecure/cmd/wssecure/internal/report"
	"github.com/wssecure/wssecure/cmd/wssecure/internal/scan"
)

// tokenVariable holds the token: a command line is in the process list and in the shell's history.
const tokenVariable = "WSSECURE_TOKEN"

// A request is a scan as it was asked for.
type request struct {
	options scan.Options
	urls    []*endpoint.URL
	format  string
	file    string
	least   finding.Grade // empty: any finding is too many
	quiet   bool
	warning string // of what works, and should not be so
}

func (c *console) scan(ctx context.Context, args []string) int {
	q, err := c.parse(args)
	if errors.Is(err, flag.ErrHelp) {
		return exitFine
	}
	if err != nil {
		return c.fault("%v", err)
	}
	if q.warning != "" {
		fmt.Fprintf(c.err, "wssecure: warning: %s\n", q.warning)
	}
	r := &report.Report{Version: q.options.Version, Started: time.Now(), Active: q.options.Active}
	for _, u := range q.urls {
		p := c.progress(u.String(), q.quiet)
		r.Targets = append(r.Targets, scan.Target(ctx, u, q.options, p.step))
		p.end()
		if ctx.Err() != nil {
			break
		}
	}
	if err := c.write(r, q); err != nil {
		return c.fault("%v", err)
	}
	return verdict(r, q.least)
}

// write leaves no half of a report: a file is written when all of it is there.
func (c *console) write(r *report.Report, q *request) error {
	if q.file == "" {
		return report.Write(c.out, r, q.format, c.colour)
	}
	var all bytes.Buffer
	if err := report.Write(&all, r, q.format, false); err != nil {
		return err
	}
	return os.WriteFile(q.file, all.Bytes(), 0o666)
}

// verdict is the exit code: what could not be scanned weighs more than what was found.
func verdict(r *report.Report, least finding.Grade) int {
	code := exitFine
	for _, t := range r.Targets {
		switch {
		case t.Error != "":
			return exitCannot
		case least != "" && t.Grade.Below(least), least == "" && t.Found():
			code = exitFound
		}
	}
	return code
}

func (c *console) parse(args []string) (*request, error) {
	q := &request{options: scan.Options{Token: strings.TrimSpace(c.env(tokenVariable)), Version: version()}}
	o := &q.options
	var place, subprotocols, ca, cert, key, least string
	f := flag.NewFlagSet("scan", flag.ContinueOnError)
	f.SetOutput(io.Discard) // which would repeat a mistake, and bury it under all flags
	f.Usage = func() {}
	f.BoolVar(&o.Active, "active", false, "also send frames and bursts, and hold connections: only where the operator agrees")
	f.StringVar(&q.format, "format", "text", "`name`: text, json, sarif or html")
	f.StringVar(&q.file, "o", "", "write the report to this `file`")
	f.StringVar(&least, "min-grade", "", "worst `grade` that is good enough (A+ A B C D F); without it any finding above info is too many")
	f.StringVar(&o.Origin, "origin", "", "`origin` that the endpoint admits; the endpoint's own when empty")
	f.StringVar(&subprotocols, "subprotocol", "", "`names` to offer, by comma")
	f.StringVar(&place, "token-in", "bearer", "`place` of the token of "+tokenVariable+": bearer, subprotocol, subprotocol:MARKER, cookie:NAME or query:NAME")
	f.StringVar(&ca, "ca", "", "PEM `file` of authorities to trust in place of the system's")
	f.BoolVar(&o.AnyCA, "insecure-ca", false, "take any chain; name and dates are still judged, and the token is sent")
	f.StringVar(&cert, "cert", "", "PEM `file` of the client certificate, and of its chain, for endpoints that ask for one")
	f.StringVar(&key, "key", "", "PEM `file` of the key of --cert")
	f.StringVar(&o.Connect, "connect", "", "`host:port` to connect to in place of the URL's")
	f.StringVar(&o.Plain, "plain-port", "", "`port` where the host may serve without TLS; 80 beside 443")
	f.DurationVar(&o.Timeout, "timeout", 5*time.Second, "`time` that one step may take")
	f.DurationVar(&o.Patience, "patience", 0, "`time` for which the endpoint lets a peer stall, or waits for a token in the first message; 12s when zero")
	f.DurationVar(&o.MaxTime, "max-time", 5*time.Minute, "`time` that one target may take")
	f.IntVar(&o.Conns, "conns", 8, "connections open at once, at most `n`")
	f.IntVar(&o.Rate, "rate", 50, "connections begun a second, at most `n`")
	f.IntVar(&o.Count, "count", 2000, "connections to one target in all, at most `n`")
	f.BoolVar(&q.quiet, "quiet", false, "no progress on stderr")
	named, err := intermixed(f, args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		c.help(f)
		return nil, err
	case err != nil:
		return nil, fmt.Errorf(`%w; "wssecure scan -h" lists the flags`, err)
	}
	return q, errors.Join(q.targets(named), q.limits(), q.place(place), q.trust(ca), q.certify(cert, key), q.offer(subprotocols), q.want(least))
}

// intermixed takes flags before and after the targets, as people write them.
func intermixed(f *flag.FlagSet, args []string) (named []string, err error) {
	for {
		if err := f.Parse(args); err != nil {
			return nil, err
		}
		if f.NArg() == 0 {
			return named, nil
		}
		named, args = append(named, f.Arg(0)), f.Args()[1:]
	}
}

func (c *console) help(f *flag.FlagSet) {
	fmt.Fprintf(c.out, `wssecure scan [flags] URL...

Scans ws:// and wss:// endpoints that you name and may scan. A token goes into the environment variable
%s. Exit code 0: good enough; 1: not good enough; 2: not scanned.

`, tokenVariable)
	f.SetOutput(c.out)
	f.PrintDefaults()
}
