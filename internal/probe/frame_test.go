package probe_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/wssecure/wssecure/internal/probe"
)

func TestAppendFrame(t *testing.T) {
	mask := &[4]byte{0x37, 0xfa, 0x21, 0x3d}
	long := bytes.Repeat([]byte{'a'}, 126)
	for _, row := range []struct {
		name string
		f    probe.Frame
		want string // hex of header, or of all when short
	}{
		{"RFC 6455 5.7 unmasked", probe.Frame{FIN: true, Opcode: probe.Text, Payload: []byte("Hello")}, "81 05 48 65 6c 6c 6f"},
		{"RFC 6455 5.7 masked", probe.Frame{FIN: true, Opcode: probe.Text, Masked: true, Mask: mask, Payload: []byte("Hello")}, "81 85 37 fa 21 3d 7f 9f 4d 51 58"},
		{"fragment", probe.Frame{Opcode: probe.Text, Payload: []byte("Hel")}, "01 03 48 65 6c"},
		{"reserved bits", probe.Frame{RSV: 4, Opcode: 0xF}, "4f 00"},
		{"all reserved bits", probe.Frame{FIN: true, RSV: 7}, "f0 00"},
		{"length of another kind", probe.Frame{FIN: true, Opcode: probe.Ping, LengthForm: probe.Form16, Payload: []byte("a")}, "89 7e 00 01 61"},
		{"length in 64 bits", probe.Frame{LengthForm: probe.Form64}, "00 7f 00 00 00 00 00 00 00 00"},
		{"declared above the payload", probe.Frame{Length: new(uint64(1 << 40)), Payload: []byte("a")}, "00 7f 00 00 01 00 00 00 00 00 61"},
		{"top bit", probe.Frame{Length: new(uint64(math.MaxUint64))}, "00 7f ff ff ff ff ff ff ff ff"},
		{"declared zero", probe.Frame{Length: new(uint64(0)), Payload: []byte("a")}, "00 00 61"},
		{"126 bytes", probe.Frame{Payload: long}, "00 7e 00 7e"},
		{"65536 bytes declared", probe.Frame{Length: new(uint64(65536))}, "00 7f 00 00 00 00 00 01 00 00"},
	} {
		t.Run(row.name, func(t *testing.T) {
			got := fmt.Sprintf("% x", probe.AppendFrame(nil, row.f))
			if got != row.want && !(len(row.f.Payload) > 100 && strings.HasPrefix(got, row.want+" 61")) {
				t.Errorf("got %s, want %s", got, row.want)
			}
		})
	}
}

func TestMasksDiffer(t *testing.T) {
	f := probe.Message(probe.Binary, make([]byte, 32))
	if bytes.Equal(probe.AppendFrame(nil, f), probe.AppendFrame(nil, f)) {
		t.Error("the same mask twice")
	}
}

func TestReadFrameReturnsWhatWasSent(t *testing.T) {
	sent := probe.Frame{RSV: 5, Opcode: 0xB, Masked: true, Mask: &[4]byte{1, 2, 3, 4}, LengthForm: probe.Form64, Payload: []byte("payload")}
	f, err := served(t, string(probe.AppendFrame(nil, sent))).ReadFrame()
	if err != nil || f.RSV != 5 || f.Opcode != 0xB || f.FIN || *f.Mask != *sent.Mask || f.LengthForm != probe.Form64 || string(f.Payload) != "payload" {
		t.Errorf("%+v, %v", f, err)
	}
	for _, wire := range []string{"\x81", "\x81\x05He", "\x81\x7e\x00", "\x81\x7f\x00\x00", "\x81\x81\x00"} {
		if _, err := served(t, wire).ReadFrame(); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%q: %v", wire, err)
		}
	}
	if _, err := served(t, "").ReadFrame(); err != io.EOF {
		t.Errorf("end between frames: %v", err)
	}
	if _, err := served(t, "\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff").ReadFrame(); err == nil {
		t.Error("a frame of 8 EiB was taken")
	}
}

// A server that sends the largest frames costs whoever waits for its close frame no memory.
func TestSkimFrameKeepsLittle(t *testing.T) {
	const frames, size = 8, 16 << 20
	near, far := net.Pipe()
	defer near.Close()
	go func() {
		defer far.Close()
		zeros := make([]byte, 1<<20)
		for range frames {
			far.Write(probe.AppendFrame(nil, probe.Frame{FIN: true, Opcode: probe.Binary, Length: new(uint64(size))}))
			for range size / len(zeros) {
				far.Write(zeros)
			}
		}
		far.Write(probe.AppendFrame(nil, probe.Frame{FIN: true, Opcode: probe.Binary, Payload: bytes.Repeat([]byte("a"), 1<<10)}))
		far.Write(probe.CloseFrame(1009, "too big"))
		far.Write(probe.AppendFrame(nil, probe.Frame{FIN: true, Opcode: probe.Binary, Length: new(uint64(size)), Payload: zeros}))
	}()
	c, deadline := probe.New(near), time.Now().Add(time.Minute)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range frames {
		f, err := c.SkimFrame(deadline)
		if err != nil || *f.Length != size || len(f.Payload) > 1<<10 {
			t.Fatalf("%d bytes kept of %d, %v", len(f.Payload), *f.Length, err)
		}
	}
	if runtime.ReadMemStats(&after); after.TotalAlloc-before.TotalAlloc > 4<<20 {
		t.Errorf("%d bytes allocated", after.TotalAlloc-before.TotalAlloc)
	}
	if f, err := c.SkimFrame(deadline); err != nil || len(f.Payload) != 1<<10 {
		t.Errorf("a frame that is kept whole: %d bytes, %v", len(f.Payload), err)
	}
	if f, err := c.SkimFrame(deadline); err != nil || string(f.Payload[2:]) != "too big" {
		t.Errorf("the close frame behind them: %+v, %v", f, err)
	}
	if _, err := c.SkimFrame(deadline); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a frame that is cut in what is not kept: %v", err)
	}
}

func TestAwaitClose(t *testing.T) {
	ping := string(probe.AppendFrame(nil, probe.Frame{FIN: true, Opcode: probe.Ping}))
	for _, row := range []struct {
		wire   string
		code   int
		reason string
	}{
		{ping + string(probe.CloseFrame(1008, "conn-limit")), 1008, "conn-limit"},
		{string(probe.CloseFrame(0, "")), 1005, ""},
		{ping, 0, ""},
		{strings.Repeat(ping, 1001) + string(probe.CloseFrame(1000, "")), 0, ""},
	} {
		code, reason, err := served(t, row.wire).AwaitClose()
		if code != row.code || reason != row.reason || (err == nil) != (row.code != 0) {
			t.Errorf("%.32q: %d %q, %v", row.wire, code, reason, err)
		}
	}
}

func TestSendSplit(t *testing.T) {
	for _, row := range []struct {
		sizes []int
		want  string
	}{
		{nil, "abcdefg"},
		{[]int{1}, "a b c d e f g"},
		{[]int{2, 0, -1, 3}, "ab cde fg"},
		{[]int{5, 1, 1, 9}, "abcde f g"},
		{[]int{7, 1}, "abcdefg"},
		{[]int{100}, "abcdefg"},
	} {
		near, far := net.Pipe()
		pieces := make(chan string)
		go func() {
			var got []string
			for buf := make([]byte, 64); ; {
				n, err := far.Read(buf)
				if err != nil {
					pieces <- strings.Join(got, " ")
					return
				}
				got = append(got, string(buf[:n]))
			}
		}()
		if err := probe.New(near).SendSplit([]byte("abcdefg"), row.sizes...); err != nil {
			t.Error(err)
		}
		near.Close()
		if got := <-pieces; got != row.want {
			t.Errorf("%v: got %q, want %q", row.sizes, got, row.want)
		}
	}
}
