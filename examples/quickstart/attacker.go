package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/wssecure/wssecure/internal/probe"
)

// handshake is an opening handshake as an attacker writes it, byte by byte: no client library in between mends it.
type handshake struct {
	*probe.Handshake
	mark string // the line that differs from an honest client's
}

func (h handshake) with(name, value string) handshake {
	return handshake{h.Clone().Set(name, value), name + ": " + value}
}

func (h handshake) without(name string) handshake {
	return handshake{h.Clone().Del(name), "(no " + name + ")"}
}

// text is the handshake for the page: a token is cut, because what is shown ends in screenshots.
func (h handshake) text() (sent, mark string) {
	lines := append([]string{h.Method + " " + h.Target + " " + h.Proto}, h.Lines...)
	if !slices.Contains(lines, h.mark) {
		lines = append(lines, h.mark) // the line that is missing
	}
	for i, line := range lines {
		lines[i] = cutToken(line)
	}
	return strings.TrimSpace(strings.Join(lines, "\n")), cutToken(h.mark)
}

func cutToken(line string) string {
	token, ok := strings.CutPrefix(line, "Authorization: Bearer ")
	if !ok {
		return line
	}
	return fmt.Sprintf("Authorization: Bearer %s… (%d characters)", token[:min(12, len(token))], len(token))
}

// exchange is one attack on the wire: it dials, sends, reads the answer and keeps the record for the page.
type exchange struct {
	issuer   *issuer
	addr     string // of the server
	host     string // of the server, as a browser names it
	tls      *tls.Config
	instance string // id of the last refusal; the event carries the same
	outcome  outcome
}

func newExchange(d *demo, a attack) *exchange {
	return &exchange{
		issuer:  d.issuer,
		addr:    "127.0.0.1:" + d.port,
		host:    "localhost:" + d.port,
		tls:     &tls.Config{RootCAs: d.authority.pool(), ServerName: "localhost", NextProtos: []string{"http/1.1"}, MinVersion: tls.VersionTLS12},
		outcome: outcome{ID: a.ID, Title: a.Title, Story: a.Story, From: attackAddr, Option: a.Option},
	}
}

// handshake is an honest one, which the guard would admit: an attack changes one line of it.
func (x *exchange) handshake() handshake {
	return handshake{Handshake: &probe.Handshake{Method: "GET", Target: "/ws", Proto: "HTTP/1.1", Lines: []string{
		"Host: " + x.host,
		"Origin: https://" + x.host,
		"Authorization: Bearer " + x.issuer.token("mallory", scopeEvents, time.Minute),
		"Upgrade: websocket",
		"Connection: Upgrade",
		"Sec-WebSocket-Version: 13",
		"Sec-WebSocket-Key: " + handshakeKey(),
		"Sec-WebSocket-Protocol: chat",
	}}}
}

// send opens a connection and sends h. The connection comes back only with a 101.
func (x *exchange) send(ctx context.Context, h handshake) (*probe.Response, *probe.Conn, error) {
	conn, err := probe.Dial(ctx, x.addr, x.tls, attackAddr)
	if errors.Is(err, syscall.EADDRNOTAVAIL) {
		return nil, nil, fmt.Errorf("this system has no address %s to attack from; on macOS make it: sudo ifconfig lo0 alias %[1]s", attackAddr)
	}
	if err != nil {
		return nil, nil, err
	}
	if err := conn.Send(h.Bytes()); err != nil {
		conn.Close()
		return nil, nil, err
	}
	answer, err := conn.Response()
	if err != nil || answer.Status != http.StatusSwitchingProtocols {
		conn.Close()
		return answer, nil, err
	}
	return answer, conn, nil
}

// try sends a handshake that should be refused.
func (x *exchange) try(ctx context.Context, h handshake, note string) error {
	conn, err := x.open(ctx, h, note)
	if conn != nil {
		conn.Close()
		return fmt.Errorf("%s was admitted", x.outcome.Title)
	}
	return err
}

// open sends a handshake and returns the connection if it was admitted.
func (x *exchange) open(ctx context.Context, h handshake, note string) (*probe.Conn, error) {
	answer, conn, err := x.send(ctx, h)
	if err != nil {
		return nil, err
	}
	x.record(h, answer, note)
	return conn, nil
}

// tryFrames opens an honest session and sends frames that should end it.
func (x *exchange) tryFrames(ctx context.Context, frames []byte, described, note string) error {
	conn, err := x.open(ctx, x.handshake(), "An honest handshake with a valid token:")
	if err != nil || conn == nil {
		return err
	}
	defer conn.Close()
	// The close frame may be there before the last byte is sent, so a failed write is no failure yet.
	sendErr := conn.Send(frames)
	code, reason, err := conn.AwaitClose()
	if err != nil {
		return fmt.Errorf("no close frame: %w", errors.Join(err, sendErr))
	}
	x.outcome.CloseCode, x.outcome.Public = code, reason
	mark, _, _ := strings.Cut(described, "\n")
	x.note(step{Sent: described, Mark: mark, Answered: fmt.Sprintf("88 …  close frame: %d %s", code, reason), Note: note})
	return nil
}

func (x *exchange) note(s step) { x.outcome.Steps = append(x.outcome.Steps, s) }

func (x *exchange) record(h handshake, answer *probe.Response, note string) {
	reason, instance := problem(answer.Body)
	x.outcome.Status, x.outcome.Public, x.instance = answer.Status, reason, instance
	if reason == "banned" {
		x.outcome.Banned = true
		x.outcome.RetryAfter, _ = strconv.Atoi(answer.Get("Retry-After"))
		note = "From here on no signature is checked for this address. Shape and Origin still are: those checks come first and cost less than the ban."
	}
	sent, mark := h.text()
	x.note(step{Sent: sent, Mark: mark, Answered: answerText(answer), Note: note})
}

// problem reads what a refusal tells its peer: the public reason, and the id that finds the event (RFC 9457).
func problem(body []byte) (reason, instance string) {
	var p struct{ Type, Instance string }
	if json.Unmarshal(body, &p) != nil {
		return "", ""
	}
	_, reason, _ = strings.Cut(p.Type, "#")
	return reason, p.Instance
}

func answerText(answer *probe.Response) string {
	var b bytes.Buffer
	b.WriteString(answer.StatusLine)
	for _, f := range answer.Header {
		b.WriteString("\n" + f.Name + ": " + f.Value)
	}
	if len(answer.Body) == 0 {
		return b.String()
	}
	b.WriteString("\n\n")
	if json.Indent(&b, answer.Body, "", "  ") != nil {
		b.Write(answer.Body)
	}
	return strings.TrimSpace(b.String())
}

// textFrame is a whole text message as a client sends it.
func textFrame(payload []byte) []byte {
	return probe.AppendFrame(nil, probe.Message(probe.Text, payload))
}

// hugeHeader is the header of a text frame that declares one gibibyte.
func hugeHeader() []byte {
	gibibyte := uint64(1 << 30)
	f := probe.Message(probe.Text, nil)
	f.Length = &gibibyte
	return probe.AppendFrame(nil, f)
}
