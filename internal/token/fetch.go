package token

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	fetchTime = 5 * time.Second
	fetchSize = 1 << 20 // after decompression
	idleTime  = 30 * time.Second
)

// A fetcher gets small documents from an issuer, who is trusted to name keys but not to be well.
type fetcher struct {
	client *http.Client
	ours   bool // the transport serves nobody else
}

// newFetcher takes what a client says of transport and TLS, and nothing of what would make a fetch follow, remember or
// wait. A nil client gets a transport of our own.
func newFetcher(c *http.Client) (*fetcher, error) {
	ours := c == nil
	if ours {
		c = &http.Client{Transport: &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			ForceAttemptHTTP2:      true,
			TLSHandshakeTimeout:    fetchTime,
			IdleConnTimeout:        idleTime,
			MaxIdleConnsPerHost:    atOnce + againAtOnce,
			MaxResponseHeaderBytes: 64 << 10,
		}}
	}
	transport := c.Transport
	if transport == nil {
		transport = http.DefaultTransport
	}
	if t, is := transport.(*http.Transport); is && t.TLSClientConfig != nil && t.TLSClientConfig.InsecureSkipVerify {
		return nil, &ConfigError{"HTTPClient", "InsecureSkipVerify lets anyone serve the keys; put the issuer's authority into RootCAs"}
	}
	own := *c
	own.Jar = nil
	// A redirect would let whoever can answer for the issuer once choose where the keys come from.
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &fetcher{client: &own, ours: ours}, nil
}

// get returns the body of a 200, and how long the server says it is good (0 when it does not).
func (f *fetcher) get(ctx context.Context, url string) ([]byte, time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, 0, err
	}
	req.Header.Set("Accept", "application/json")
	// One request in a quarter of an hour needs no idle connection, which would outlive Close.
	req.Close = true
	body, header, err := f.send(req, fetchSize)
	return body, maxAge(header), err
}

// send returns the body of a 200, of most bytes after decompression, and its header.
func (f *fetcher) send(req *http.Request, most int) ([]byte, http.Header, error) {
	resp, err := f.client.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, nil, fmt.Errorf("status %d, not 200", resp.StatusCode)
	}
	body, err := readBounded(resp.Body, most)
	return body, resp.Header, err
}

// readBounded reads into one piece of memory: a buffer that grows to the bound takes five times the bound.
func readBounded(r io.Reader, most int) ([]byte, error) {
	body := make([]byte, most+1)
	for n := 0; n < len(body); {
		read, err := r.Read(body[n:])
		n += read
		if n > most {
			break
		}
		if err == io.EOF {
			return body[:n], nil
		}
		if err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("body over %d KiB", most>>10)
}

// maxAge reads max-age of Cache-Control, the only directive that says when to come again. The least one counts.
func maxAge(h http.Header) time.Duration {
	var age time.Duration
	for _, line := range h["Cache-Control"] {
		for directive := range strings.SplitSeq(line, ",") {
			name, value, _ := strings.Cut(strings.TrimSpace(directive), "=")
			if !equalFold(name, "max-age") {
				continue
			}
			seconds, err := strconv.ParseUint(strings.Trim(value, `"`), 10, 31)
			if err != nil {
				continue
			}
			// max-age=0 is a value, not the absence of one.
			if d := max(time.Duration(seconds)*time.Second, time.Nanosecond); age == 0 || d < age {
				age = d
			}
		}
	}
	return age
}
