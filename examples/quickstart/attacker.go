package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// handshake is an opening handshake as an attacker writes it: lines in her order and spelling, no client library in
// between that would mend them.
type handshake struct {
	lines []string
	mark  string // the line that differs from an honest client's
}

func (h handshake) with(name, value string) handshake {
	h.mark = name + ": " + value
	i := h.find(name)
	h.lines = slices.Clone(h.lines)
	h.lines[i] = h.mark
	return h
}

func (h handshake) without(name string) handshake {
	h.lines = slices.Delete(slices.Clone(h.lines), h.find(name), h.find(name)+1)
	h.mark = "(no " + name + ")"
	return h
}

func (h handshake) find(name string) int {
	return slices.IndexFunc(h.lines, func(line string) bool { return strings.HasPrefix(line, name+": ") })
}

func (h handshake) bytes() []byte {
	return []byte(strings.Join(h.lines, "\r\n") + "\r\n\r\n")
}

// text is the handshake for the page: a token is cut, because what is shown ends in screenshots.
func (h handshake) text() (sent, mark string) {
	lines := slices.Clone(h.lines)
	if strings.HasPrefix(h.mark, "(no ") {
		lines = append(lines, h.mark)
	}
	for i, line := range lines {
		lines[i] = cutToken(line)
	}
	return strings.Join(lines, "\n"), cutToken(h.mark)
}

func cutToken(line string) string {
	token, ok := strings.CutPrefix(line, "Authorization: Bearer ")
	if !ok {
		return line
	}
	return fmt.Sprintf("Authorization: Bearer %s… (%d characters)", token[:12], len(token))
}

// exchange is one attack on the wire: it dials, sends, reads the answer and keeps the record for the page.
type exchange struct {
	issuer   *issuer
	host     string // as the browser names the server
	dialer   tls.Dialer
	instance string // id of the last refusal; the event carries the same
	outcome  outcome
}

func newExchange(d *demo, a attack) *exchange {
	return &exchange{
		issuer: d.issuer,
		host:   "localhost:" + d.port,
		dialer: tls.Dialer{
			NetDialer: &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(attackAddr)}},
			Config:    &tls.Config{RootCAs: d.authority.pool(), ServerName: "localhost", NextProtos: []string{"http/1.1"}, MinVersion: tls.VersionTLS12},
		},
		outcome: outcome{ID: a.ID, Title: a.Title, Story: a.Story, From: attackAddr, Option: a.Option},
	}
}

// handshake is an honest one, which the guard would admit: an attack changes one line of it.
func (x *exchange) handshake() handshake {
	return handshake{lines: []string{
		"GET /ws HTTP/1.1",
		"Host: " + x.host,
		"Origin: https://" + x.host,
		"Authorization: Bearer " + x.issuer.token("mallory", allScopes, time.Minute),
		"Upgrade: websocket",
		"Connection: Upgrade",
		"Sec-WebSocket-Version: 13",
		"Sec-WebSocket-Key: " + handshakeKey(),
		"Sec-WebSocket-Protocol: chat",
	}}
}

// answer is the HTTP answer to a handshake.
type answer struct {
	status   int
	head     string
	body     string
	public   string // reason slug of the problem document
	instance string
	retry    int
}

// send opens a connection and sends h. The connection comes back only with a 101.
func (x *exchange) send(ctx context.Context, h handshake) (answer, *peer, error) {
	conn, err := x.dialer.DialContext(ctx, "tcp", "127.0.0.1:"+x.host[len("localhost:"):])
	if err != nil {
		return answer{}, nil, fmt.Errorf("no connection from %s: %w; on macOS this address must exist first: sudo ifconfig lo0 alias %[1]s", attackAddr, err)
	}
	deadline, _ := ctx.Deadline()
	conn.SetDeadline(deadline)
	p := &peer{Conn: conn, in: bufio.NewReader(conn)}
	if _, err := conn.Write(h.bytes()); err != nil {
		conn.Close()
		return answer{}, nil, err
	}
	a, err := p.readAnswer()
	if err != nil || a.status != http.StatusSwitchingProtocols {
		conn.Close()
		return a, nil, err
	}
	return a, p, nil
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
func (x *exchange) open(ctx context.Context, h handshake, note string) (*peer, error) {
	a, conn, err := x.send(ctx, h)
	if err != nil {
		return nil, err
	}
	x.record(h, a, note)
	return conn, nil
}

// tryFrames opens an honest session and sends frames that should end it.
func (x *exchange) tryFrames(ctx context.Context, frames []byte, described, note string) error {
	conn, err := x.open(ctx, x.handshake(), "An honest handshake with a valid token:")
	if err != nil || conn == nil {
		return err
	}
	defer conn.Close()
	// The answer may be there before the last byte is sent, so a failed write is no failure yet.
	_, writeErr := conn.Write(frames)
	code, reason, err := conn.readClose()
	if err != nil {
		return fmt.Errorf("no close frame: %w (sending: %v)", err, writeErr)
	}
	x.outcome.CloseCode, x.outcome.Public = code, reason
	x.note(step{Sent: described, Mark: firstLine(described), Answered: fmt.Sprintf("88 …  close frame: %d %s", code, reason), Note: note})
	return nil
}

func (x *exchange) note(s step) { x.outcome.Steps = append(x.outcome.Steps, s) }

func (x *exchange) record(h handshake, a answer, note string) {
	sent, mark := h.text()
	x.outcome.Status, x.outcome.Public, x.instance = a.status, a.public, a.instance
	if a.public == "banned" {
		x.outcome.Banned, x.outcome.RetryAfter = true, a.retry
		note = "From here on no signature is checked for this address. Its shape and Origin still are: those checks come first and cost less than the ban."
	}
	x.note(step{Sent: sent, Mark: mark, Answered: strings.TrimSpace(a.head + "\n\n" + a.body), Note: note})
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

// peer is the attacker's end of a connection.
type peer struct {
	net.Conn
	in *bufio.Reader
}

const mostAnswer = 16 << 10

func (p *peer) readAnswer() (answer, error) {
	var a answer
	for len(a.head) < mostAnswer {
		line, err := p.in.ReadString('\n')
		if err != nil {
			return a, fmt.Errorf("no whole answer: %w", err)
		}
		if line = strings.TrimRight(line, "\r\n"); line == "" {
			break
		}
		if a.head != "" {
			a.head += "\n"
		}
		a.head += line
	}
	resp, err := http.ReadResponse(bufio.NewReader(strings.NewReader(strings.ReplaceAll(a.head, "\n", "\r\n")+"\r\n\r\n")), nil)
	if err != nil {
		return a, err
	}
	a.status = resp.StatusCode
	a.retry, _ = strconv.Atoi(resp.Header.Get("Retry-After"))
	if a.status == http.StatusSwitchingProtocols {
		return a, nil
	}
	body, err := io.ReadAll(io.LimitReader(p.in, min(max(resp.ContentLength, 0), mostAnswer)))
	if err != nil {
		return a, err
	}
	a.body = indented(body)
	var problem struct{ Type, Instance string }
	if json.Unmarshal(body, &problem) == nil {
		_, a.public, _ = strings.Cut(problem.Type, "#")
		a.instance = problem.Instance
	}
	return a, nil
}

func indented(body []byte) string {
	var b bytes.Buffer
	if json.Indent(&b, body, "", "  ") != nil {
		return string(body)
	}
	return b.String()
}

// readClose reads frames until a close frame and returns its code and reason.
func (p *peer) readClose() (code int, reason string, err error) {
	for {
		opcode, payload, err := p.readFrame()
		if err != nil {
			return 0, "", err
		}
		if opcode == 8 && len(payload) >= 2 {
			return int(binary.BigEndian.Uint16(payload)), string(payload[2:]), nil
		}
	}
}

// readFrame reads one frame of a server: never masked, and here never long.
func (p *peer) readFrame() (opcode byte, payload []byte, err error) {
	head := make([]byte, 2)
	if _, err := io.ReadFull(p.in, head); err != nil {
		return 0, nil, err
	}
	size := int(head[1] & 0x7f)
	switch size {
	case 126:
		long := make([]byte, 2)
		if _, err := io.ReadFull(p.in, long); err != nil {
			return 0, nil, err
		}
		size = int(binary.BigEndian.Uint16(long))
	case 127:
		return 0, nil, fmt.Errorf("a frame of over 64 KiB from the chat")
	}
	payload = make([]byte, size)
	_, err = io.ReadFull(p.in, payload)
	return head[0] & 0x0f, payload, err
}

// textFrame is a whole masked text message of at most 125 bytes. The mask is zero: it hides nothing from the server, only
// from proxies in between, and there are none.
func textFrame(payload []byte) []byte {
	return append([]byte{0x81, 0x80 | byte(len(payload)), 0, 0, 0, 0}, payload...)
}

// hugeHeader is the header of a text frame that declares one gibibyte, in the 64-bit length form.
func hugeHeader() []byte {
	return []byte{0x81, 0xff, 0, 0, 0, 0, 0x40, 0, 0, 0, 0, 0, 0, 0}
}
