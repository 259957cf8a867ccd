package endpoint

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"

	"github.com/wssecure/wssecure/internal/quote"
)

// dialFault says why nobody was reached.
func (e *Endpoint) dialFault(err error) error {
	var dns *net.DNSError
	switch {
	case errors.Is(err, ErrSpent):
		return err
	case errors.As(err, &dns) && dns.IsNotFound:
		return fmt.Errorf("the name %s does not resolve", e.URL.Host)
	case errors.As(err, &dns):
		return fmt.Errorf("the name %s could not be looked up", e.URL.Host)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("nobody listens on %s", e.Addr())
	case timedOut(err):
		return fmt.Errorf("no connection to %s within %v", e.Addr(), e.Timeout)
	}
	return fmt.Errorf("no connection to %s: %s", e.Addr(), quote.Cut(err.Error(), quote.Value))
}

// tlsFault says why there is no TLS, by what came in place of it.
func (e *Endpoint) tlsFault(err error, first []byte) error {
	var record tls.RecordHeaderError
	var alert tls.AlertError
	if fault := e.certFault(err); fault != nil {
		return fault
	}
	switch {
	case errors.As(err, &record):
		return fmt.Errorf("%s speaks no TLS but %s", e.Addr(), Tongue(first))
	case errors.As(err, &alert):
		return fmt.Errorf("%s refuses TLS: %s", e.Addr(), alert.Error())
	case timedOut(err):
		return fmt.Errorf("%s takes connections, but ends no TLS handshake within %v", e.Addr(), e.Timeout)
	case len(first) == 0 && hungUp(err):
		return fmt.Errorf("%s takes connections and closes them at the first byte of TLS", e.Addr())
	case hungUp(err):
		return fmt.Errorf("%s closes the connection in the middle of the TLS handshake", e.Addr())
	}
	return fmt.Errorf("%s ends the TLS handshake: %s", e.Addr(), quote.Cut(err.Error(), quote.Value))
}

// AnswerFault says why a request that was sent has no answer.
func (e *Endpoint) AnswerFault(err error) error {
	if fault := e.certFault(err); fault != nil {
		return fault
	}
	return errors.New(quote.Cut(err.Error(), quote.Value))
}

// certFault says what a target wants that ends the connection where it had asked for a client certificate: under TLS 1.3
// the client has ended its handshake by then. It is nil where that is not the reason.
func (e *Endpoint) certFault(err error) error {
	var op *net.OpError
	alerted := errors.As(err, &op) && op.Op == "remote error"
	switch {
	case !e.AsksForCert.Load() || !alerted && !hungUp(err):
		return nil
	case e.Cert == nil:
		return fmt.Errorf("%s asks for a client certificate; give one with --cert FILE and --key FILE", e.Addr())
	}
	return fmt.Errorf("%s does not take the client certificate of --cert: %s", e.Addr(), quote.Cut(err.Error(), quote.Value))
}

// Tongue guesses a protocol by its first bytes.
func Tongue(first []byte) string {
	shown := quote.Quoted(string(first[:min(len(first), 48)]), quote.Value)
	switch {
	case bytes.HasPrefix(first, []byte("SSH-")):
		return "SSH: " + shown
	case bytes.HasPrefix(first, []byte("HTTP/")):
		return "plain HTTP; try ws://: " + shown
	case bytes.HasPrefix(first, []byte("220")):
		return "SMTP or FTP: " + shown
	case len(first) > 2 && (first[0] == 0x15 || first[0] == 0x16) && first[1] == 3:
		return "TLS; try wss://"
	case len(first) > 8 && first[0] == 0 && first[3] == 4:
		return "HTTP/2 only"
	case len(first) == 0:
		return "nothing"
	}
	return "something else: " + shown
}

func timedOut(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}

func hungUp(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}
