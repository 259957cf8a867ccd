package wssecure_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/coder/websocket"

	"github.com/wssecure/wssecure"
	catalogue "github.com/wssecure/wssecure/internal/attack"
	"github.com/wssecure/wssecure/internal/logbook"
	"github.com/wssecure/wssecure/internal/probe"
	"github.com/wssecure/wssecure/wssecuretest"
)

// A lax server is written by hand, over plaintext: of a handshake it looks at Origin alone, and is strict about frames but
// for what it passes.
type lax struct {
	passes []string // of: origin mask rsv1 rsv23 opcode control continuation interleaved length size utf8 close-code close
	lines  []string // of its 101
	log    io.Writer
}

func (s lax) start(t *testing.T) *catalogue.Target {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			go s.serve(c)
		}
	}()
	return &catalogue.Target{URL: "ws://" + listener.Addr().String() + "/ws", Origin: wssecuretest.Origin, Active: true, Timeout: hang}
}

func (s lax) serve(c net.Conn) {
	defer c.Close()
	br := bufio.NewReaderSize(c, 64<<10)
	key, origin := "", ""
	for {
		line, err := br.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimRight(line, "\r\n")
		if line == "" {
			break
		}
		switch name, value, _ := strings.Cut(line, ":"); strings.ToLower(name) {
		case "sec-websocket-key":
			key = strings.TrimSpace(value)
		case "origin":
			origin = strings.TrimSpace(value)
		}
	}
	if origin != wssecuretest.Origin && !s.pass("origin") {
		io.WriteString(c, "HTTP/1.1 403 Forbidden\r\nConnection: close\r\n\r\n")
		return
	}
	lines := append([]string{"HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Accept: " + probe.Accept(key)}, s.lines...)
	io.WriteString(c, strings.Join(lines, "\r\n")+"\r\n\r\n")
	if code := s.frames(c, br); code != 0 {
		c.Write(probe.AppendFrame(nil, probe.Frame{FIN: true, Opcode: probe.Close, Payload: binary.BigEndian.AppendUint16(nil, uint16(code))}))
	}
}

func (s lax) pass(what string) bool { return slices.Contains(s.passes, what) }

// frames echoes until the session ends, and returns the code to close with.
func (s lax) frames(c net.Conn, br *bufio.Reader) int {
	var message []byte
	open, text, ended := false, false, false
	for {
		f, bad := s.frame(br)
		if bad != 0 {
			return bad
		}
		if ended {
			continue
		}
		control := f.Opcode >= 8
		switch {
		case !f.Masked && !s.pass("mask"),
			f.RSV&4 != 0 && !s.pass("rsv1"),
			f.RSV&3 != 0 && !s.pass("rsv23"),
			(f.Opcode > 2 && f.Opcode < 8 || f.Opcode > 10) && !s.pass("opcode"),
			control && (!f.FIN || len(f.Payload) > 125) && !s.pass("control"),
			f.Opcode == probe.Continuation && !open && !s.pass("continuation") && !s.pass("control"),
			(f.Opcode == probe.Text || f.Opcode == probe.Binary) && open && !s.pass("interleaved"):
			return 1002
		}
		switch {
		case f.Opcode == probe.Ping:
			c.Write(probe.AppendFrame(nil, probe.Frame{FIN: true, Opcode: probe.Pong, Payload: f.Payload}))
			continue
		case f.Opcode == probe.Close:
			if s.log != nil && len(f.Payload) > 2 {
				fmt.Fprintf(s.log, "closed: %s\n", f.Payload[2:])
			}
			if s.pass("close") {
				ended = true // and nobody closes
				continue
			}
			if !s.pass("close-code") && (len(f.Payload) == 1 || len(f.Payload) > 1 && !codes[binary.BigEndian.Uint16(f.Payload)]) {
				return 1002
			}
			c.Write(probe.AppendFrame(nil, probe.Frame{FIN: true, Opcode: probe.Close, Payload: f.Payload}))
			return 0
		case control:
			continue
		}
		if f.Opcode != probe.Continuation {
			message, text = nil, f.Opcode == probe.Text
		}
		message = append(message, f.Payload...)
		open = !f.FIN
		if len(message) > 1<<20 && !s.pass("size") {
			return 1009
		}
		if f.FIN && text && !utf8.Valid(message) && !s.pass("utf8") {
			return 1007
		}
	}
}

// codes that may stand in a close frame, as far as attacks go.
var codes = map[uint16]bool{1000: true, 1001: true}

// frame reads one. A length that is not bounded is believed, byte by byte.
func (s lax) frame(br *bufio.Reader) (probe.Frame, int) {
	var head [14]byte
	if _, err := io.ReadFull(br, head[:2]); err != nil {
		return probe.Frame{}, 1006
	}
	f := probe.Frame{FIN: head[0]&0x80 != 0, RSV: head[0] >> 4 & 7, Opcode: head[0] & 15, Masked: head[1]&0x80 != 0}
	length, size := uint64(head[1]&0x7F), 0
	switch length {
	case 126:
		size = 2
	case 127:
		size = 8
	}
	if _, err := io.ReadFull(br, head[2:2+size]); err != nil {
		return f, 1006
	}
	switch size {
	case 2:
		length = uint64(binary.BigEndian.Uint16(head[2:]))
	case 8:
		length = binary.BigEndian.Uint64(head[2:])
	}
	if size == 8 && length <= 0xFFFF && !s.pass("length") {
		return f, 1002
	}
	if length > 1<<20 && !s.pass("size") {
		return f, 1009
	}
	var mask [4]byte
	if f.Masked {
		if _, err := io.ReadFull(br, mask[:]); err != nil {
			return f, 1006
		}
	}
	var body bytes.Buffer
	if _, err := io.CopyN(&body, br, int64(min(length, math.MaxInt64))); err != nil {
		return f, 1006
	}
	f.Payload = body.Bytes()
	probe.Mask(f.Payload, mask)
	return f, 0
}

func frameMutants() []mutant {
	passing := func(what ...string) func(*testing.T) *catalogue.Target { return lax{passes: what}.start }
	compressing := func(limit int64) func(*testing.T) *catalogue.Target {
		return library(func(c *websocket.Conn) { c.SetReadLimit(limit) })
	}
	loose := func(l wssecure.Limits) func(*testing.T) *catalogue.Target {
		return func(t *testing.T) *catalogue.Target {
			return targetOf(wssecuretest.NewServer(t, wssecure.LimitSession(l)))
		}
	}
	much := wssecure.Rate{N: 1_000_000_000, Per: time.Second, Burst: 1 << 26}
	return []mutant{
		{"an echo of the whole handshake", []string{"host-none", "host-twice", "line-blank-colon", "line-nul", "line-cr", "length-and-chunked", "origin-rebinding", "limit-sessions", "limit-handshakes"}, passing("origin")},
		{"a subprotocol that nobody offered", []string{"subprotocol-unoffered"}, lax{lines: []string{"Sec-WebSocket-Protocol: chat"}}.start},
		{"an extension that nobody offered", []string{"extension-unoffered", "extension-parameters"}, lax{lines: []string{"Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=99"}}.start},
		{"the first subprotocol, whatever it is", []string{"token-echo"}, func(t *testing.T) *catalogue.Target { return echoing(t) }},
		{"no masks", []string{"frame-unmasked"}, passing("mask")},
		{"RSV1 is ignored", []string{"frame-rsv1"}, passing("rsv1")},
		{"RSV2 and RSV3 are ignored", []string{"frame-rsv2", "frame-rsv3"}, passing("rsv23")},
		{"opcodes are ignored", []string{"frame-opcode", "frame-opcode-control"}, passing("opcode")},
		{"control frames like all others", []string{"control-fragmented", "control-long"}, passing("control")},
		{"continuations of nothing", []string{"frame-continuation"}, passing("continuation")},
		{"messages inside messages", []string{"frame-interleaved"}, passing("interleaved")},
		{"lengths in any form", []string{"length-long-form"}, passing("length")},
		{"no size is too large", []string{"length-top-bit", "length-most", "length-sum", "length-declared", "message-size", "message-size-fragments", "slow-message", "flood-bytes"}, func(t *testing.T) *catalogue.Target {
			target := lax{passes: []string{"size"}}.start(t)
			target.Patience = 3 * time.Second
			return target
		}},
		{"text is bytes", []string{"text-invalid", "text-overlong", "text-surrogate", "text-cut", "text-split"}, passing("utf8")},
		{"close codes as they come", []string{"close-one-byte", "close-code-reserved", "close-code-low", "close-code-abort"}, passing("close-code")},
		{"the peer will close", []string{"close-stall", "close-endless"}, passing("close")},
		{"close reasons as they come", []string{"log-close-reason"}, func(t *testing.T) *catalogue.Target {
			var book logbook.Book
			target := lax{log: &book}.start(t)
			target.Log = book.String
			return target
		}},
		{"no limit after inflation", []string{"compression-bomb"}, compressing(-1)},
		{"no limit before inflation", []string{"compression-empty"}, compressing(32 << 10)},
		{"Limits.Controls", []string{"flood-ping", "flood-pong"}, loose(wssecure.Limits{Controls: much})},
		{"Limits.Fragments", []string{"flood-fragments", "flood-empty-fragments"}, loose(wssecure.Limits{Fragments: 1 << 20})},
		{"Limits.Messages", []string{"flood-messages"}, loose(wssecure.Limits{Messages: much})},
		{"Limits.Messages and Bytes", []string{"flood-bytes", "flood-messages"}, loose(wssecure.Limits{Messages: much, Bytes: much})},
	}
}

// library is an endpoint as the quick start of a library has it, with compression.
func library(set func(*websocket.Conn)) func(*testing.T) *catalogue.Target {
	return handled(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true, CompressionMode: websocket.CompressionNoContextTakeover})
		if err != nil {
			return
		}
		defer c.CloseNow()
		set(c)
		for {
			if _, _, err := c.Read(context.Background()); err != nil {
				return
			}
		}
	})
}

// echoing answers with the last subprotocol that was offered: behind a marker, that is the token.
func echoing(t *testing.T) *catalogue.Target {
	target := handled(func(w http.ResponseWriter, r *http.Request) {
		offered := strings.Split(r.Header.Get("Sec-WebSocket-Protocol"), ",")
		c, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true, Subprotocols: []string{strings.TrimSpace(offered[len(offered)-1])}})
		if err == nil {
			c.CloseNow()
		}
	})(t)
	target.Token = func() string { return "an-opaque-token" }
	return target
}
