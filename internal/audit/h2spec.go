package main

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
)

// h2spec tests HTTP/2 servers for conformance (RFC 7540, RFC 7541).
const h2spec = "github.com/summerwind/h2spec/cmd/h2spec@v2.2.1+incompatible"

// leastCases is less than h2spec has: with fewer it has not tested what it is here for.
const leastCases = 140

// plainServer is a server of net/http with HTTP/2 and nothing of ours.
func plainServer() *httptest.Server {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "plain") }))
	s.EnableHTTP2 = true
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // each case is one
	s.StartTLS()
	return s
}

// readH2Spec compares two reports, in the form of JUnit's: HTTP/2 is net/http's, and what it does worse behind our timeouts,
// TLS and handlers is ours.
func readH2Spec(result, plain []byte) ([]check, error) {
	ours, failed, err := readJUnit(result)
	if err != nil {
		return nil, err
	}
	theirs, known, err := readJUnit(plain)
	if err != nil {
		return nil, fmt.Errorf("net/http: %w", err)
	}
	worse := slices.DeleteFunc(slices.Clone(failed), func(name string) bool { return slices.Contains(known, name) })
	return []check{
		{name: "all cases were tried", seen: fmt.Sprintf("%d, %d with net/http alone", ours, theirs), good: ours >= leastCases && theirs >= leastCases},
		{
			name: "as net/http alone", good: len(worse) == 0,
			seen: strings.Join(append([]string{fmt.Sprintf("%d fail, %d with net/http alone", len(failed), len(known))}, worse...), "; "),
		},
	}, nil
}

// readJUnit counts the cases of a report and names those that failed.
func readJUnit(report []byte) (cases int, failed []string, err error) {
	var r struct {
		Suites []struct {
			Cases []struct {
				Package string    `xml:"package,attr"`
				Class   string    `xml:"classname,attr"`
				Failure *struct{} `xml:"failure"`
				Error   *struct{} `xml:"error"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	if err := xml.Unmarshal(report, &r); err != nil {
		return 0, nil, err
	}
	for _, s := range r.Suites {
		for _, c := range s.Cases {
			cases++
			if c.Failure != nil || c.Error != nil {
				failed = append(failed, c.Package+": "+c.Class)
			}
		}
	}
	if cases == 0 {
		return 0, nil, errors.New("no case is in it")
	}
	return cases, failed, nil
}
