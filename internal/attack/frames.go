package attack

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"time"

	"github.com/wssecure/wssecure/internal/probe"
)

// This file is frames that RFC 6455 forbids. A server that lets one pass and the next in line that does not see two
// different conversations.

func frameAttacks() []Attack {
	text := func(s string) []byte { return probe.AppendFrame(nil, probe.Message(probe.Text, []byte(s))) }
	frame := func(f probe.Frame) []byte { return probe.AppendFrame(nil, f) }
	masked := func(fin bool, rsv, opcode byte, payload string) probe.Frame {
		return probe.Frame{FIN: fin, RSV: rsv, Opcode: opcode, Masked: true, Payload: []byte(payload)}
	}
	declared := func(opcode byte, length uint64, form int, payload []byte) []byte {
		return frame(probe.Frame{FIN: true, Opcode: opcode, Masked: true, Length: &length, LengthForm: form, Payload: payload})
	}
	join := func(parts ...[]byte) []byte {
		var all []byte
		for _, p := range parts {
			all = append(all, p...)
		}
		return all
	}
	return each(Attack{
		Group: "frames", Severity: Low, Active: true, Needs: NeedSession,
		Why:    "what reads the frame in another way than the server can be passed by: a filter, a proxy, a cache",
		Fix:    "end the session with 1002 at the first frame that RFC 6455 forbids",
		Option: "the default, under any library",
	},
		offence("frame-unmasked", "a frame without a mask", "RFC 6455 5.1", Medium, frame(probe.Frame{FIN: true, Opcode: probe.Text, Payload: []byte("hello")})),
		offence("frame-rsv1", "RSV1 without compression", "RFC 6455 5.2", Low, frame(masked(true, 4, probe.Text, "hello"))),
		offence("frame-rsv2", "RSV2", "RFC 6455 5.2", Low, frame(masked(true, 2, probe.Text, "hello"))),
		offence("frame-rsv3", "RSV3", "RFC 6455 5.2", Low, frame(masked(true, 1, probe.Text, "hello"))),
		offence("frame-opcode", "opcode 3", "RFC 6455 5.2", Low, frame(masked(true, 0, 3, "hello"))),
		offence("frame-opcode-control", "opcode 11", "RFC 6455 5.2", Low, frame(masked(true, 0, 11, "hello"))),
		offence("frame-continuation", "a continuation of nothing", "RFC 6455 5.4", Low, frame(masked(true, 0, probe.Continuation, "hello"))),
		offence("frame-interleaved", "a message inside another one", "RFC 6455 5.4", Low, join(frame(masked(false, 0, probe.Text, "hel")), text("x"))),
		offence("control-fragmented", "a ping in fragments", "RFC 6455 5.5", Low, join(frame(masked(false, 0, probe.Ping, "a")), frame(masked(true, 0, probe.Continuation, "b")))),
		offence("control-long", "a ping of 126 bytes", "RFC 6455 5.5", Low, frame(masked(true, 0, probe.Ping, string(make([]byte, 126))))),
		offence("length-long-form", "a length in more bytes than it needs", "RFC 6455 5.2", Low, declared(probe.Text, 5, probe.Form64, []byte("hello"))),
		offence("length-top-bit", "a length of 2^63", "CVE-2020-27813", High, declared(probe.Binary, 1<<63, probe.Form64, make([]byte, 64))),
		offence("length-most", "a length of 2^64-1", "CVE-2020-27813", High, declared(probe.Binary, math.MaxUint64, probe.Form64, make([]byte, 64))),
		// 4 MiB of it, so that a server which bounds what comes and not what is declared shows that it does.
		aboutSize(large("length-sum", "fragments whose lengths add up to more than 64 bits", "CVE-2020-27813", High, func() []byte {
			return join(
				frame(masked(false, 0, probe.Binary, "hello")),
				frame(probe.Frame{FIN: true, Opcode: probe.Continuation, Masked: true, Length: new(uint64(math.MaxInt64)), Payload: make([]byte, 4<<20)}))
		})),
		aboutSize(offence("length-declared", "a message of 1 GiB that is declared and not sent", "CWE-770", Low, declared(probe.Binary, 1<<30, 0, nil))),
		aboutSize(large("message-size", "a message of 1 GiB of which 4 MiB come", "CWE-770", High, func() []byte { return declared(probe.Binary, 1<<30, 0, make([]byte, 4<<20)) })),
		aboutSize(large("message-size-fragments", "a message of 4 MiB in fragments of 64 KiB", "CWE-770", High, func() []byte { return fragments(64, 64<<10) })),
		aboutText(offence("text-invalid", "text with a byte that is no UTF-8", "RFC 6455 8.1", Low, text("a\xffb"))),
		aboutText(offence("text-overlong", "text with an overlong slash", "RFC 3629 3", Low, text("a\xc0\xafb"))),
		aboutText(offence("text-surrogate", "text with half of a surrogate pair", "RFC 3629 3", Low, text("a\xed\xa0\x80b"))),
		aboutText(offence("text-cut", "text that ends inside a character", "RFC 6455 8.1", Low, text("a\xe2\x82"))),
		aboutText(offence("text-split", "text that ends inside a character, in fragments", "RFC 6455 8.1", Low, join(frame(masked(false, 0, probe.Text, "a\xe2")), frame(masked(true, 0, probe.Continuation, "\x82"))))),
		closeCode("close-one-byte", "a close frame of one byte", []byte{3}),
		closeCode("close-code-reserved", "a close frame with 1005, which is never sent", binary.BigEndian.AppendUint16(nil, 1005)),
		closeCode("close-code-low", "a close frame with 999", binary.BigEndian.AppendUint16(nil, 999)),
		closeCode("close-code-abort", "a close frame with 1006, which is never sent", binary.BigEndian.AppendUint16(nil, 1006)),
	)
}

// grace is how long a session may live on after it has answered a ping behind an offence.
const grace = 500 * time.Millisecond

// aboutText says what text is about, in place of what the group says.
func aboutText(a Attack) Attack {
	a.Why = "two programs that read one message see two texts: the one that filters, and the one that acts"
	a.Fix = "end the session with 1007 at text that is no UTF-8"
	a.Option = "the default of ConnHandler; under Handler it is the library's to check"
	return a
}

// aboutSize says what sizes are about.
func aboutSize(a Attack) Attack {
	a.Why = "a few such peers take the memory of the whole server"
	a.Fix = "bound the size of a message, and end the session with 1009 at the header that declares more"
	a.Option = "the default of 64 KiB; Limits.MessageSize"
	return a
}

// fragments is one binary message of n fragments, the last one missing.
func fragments(n, size int) []byte {
	var all []byte
	for i := range n {
		f := probe.Frame{Opcode: probe.Continuation, Masked: true, Payload: make([]byte, size)}
		if i == 0 {
			f.Opcode = probe.Binary
		}
		all = probe.AppendFrame(all, f)
	}
	return all
}

// offence is a session that must end when it is sent these bytes.
func offence(id, title, ref string, s Severity, sent []byte) Attack {
	return large(id, title, ref, s, func() []byte { return sent })
}

// large is an offence whose bytes are made when they are sent.
func large(id, title, ref string, s Severity, of func() []byte) Attack {
	return Attack{ID: id, Title: title, Severity: s, Refs: []string{ref}, Run: func(ctx context.Context, t *Target) Verdict {
		l, v, ok := t.session(ctx)
		if !ok {
			return v
		}
		defer l.Close()
		sent := of()
		shown := fmt.Sprintf("% x", sent[:min(len(sent), 24)])
		if len(sent) > 24 {
			shown += fmt.Sprintf(" … (%d bytes)", len(sent))
		}
		began := time.Now()
		e := l.pour(sent, t.within(worked))
		if e.alive {
			e = l.watch(grace, nil) // it may read on while it makes up its mind
			e.alive = !e.over()
		}
		if !e.over() {
			return broken(shown, e.String(), "it goes on")
		}
		return l.answers(ctx, t, shown, e, time.Since(began))
	}}
}

// closeCode is a close frame that must not be answered as if it were one.
func closeCode(id, title string, payload []byte) Attack {
	return Attack{ID: id, Title: title, Refs: []string{"RFC 6455 7.4"}, Run: func(ctx context.Context, t *Target) Verdict {
		l, v, ok := t.session(ctx)
		if !ok {
			return v
		}
		defer l.Close()
		sent := fmt.Sprintf("a close frame with % x", payload)
		l.SendFrame(probe.Message(probe.Close, payload))
		e := l.watch(t.within(closing), nil)
		switch {
		case !e.over():
			return broken(sent, e.String(), "%v later", t.within(closing))
		case e.code != 0 && e.code != 1002 && e.code != 1007 && e.code != 1008:
			return broken(sent, e.String(), "it was taken for a close frame as good as any")
		}
		return held(sent, e.String())
	}}
}
