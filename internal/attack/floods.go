package attack

import (
	"bytes"
	"compress/flate"
	"context"
	"strings"
	"time"

	"github.com/wssecure/wssecure/internal/probe"
)

// This file is frames that are good one by one, and too many together.

func floodAttacks() []Attack {
	many := func(n int, opcode byte, size int) func() (first, rest []byte) {
		return func() (first, rest []byte) {
			frame := probe.AppendFrame(nil, probe.Message(opcode, bytes.Repeat([]byte("a"), size)))
			return bytes.Repeat(frame, n/parts), bytes.Repeat(frame, n-n/parts)
		}
	}
	pieces := func(n, size int) func() (first, rest []byte) {
		return func() (first, rest []byte) {
			all := fragments(n, size)
			end := probe.AppendFrame(nil, probe.Frame{FIN: true, Opcode: probe.Continuation, Masked: true})
			return all[:len(all)/parts], append(all[len(all)/parts:], end...)
		}
	}
	return each(Attack{
		Group: "floods", Severity: Medium, Active: true, Alone: true, Needs: NeedSession, Refs: []string{"CWE-770"},
		Why: "a single peer keeps a processor busy, and its neighbours wait",
	},
		flood("flood-ping", "2,000 pings at once", "ATTACKS D2", many(2000, probe.Ping, 125), "bound control frames by rate, and end the session above it", "the default; Limits.Controls"),
		flood("flood-pong", "2,000 pongs that nobody asked for", "ATTACKS D2", many(2000, probe.Pong, 125), "bound control frames by rate, and end the session above it", "the default; Limits.Controls"),
		flood("flood-empty-fragments", "a message of 5,000 empty fragments", "ATTACKS D3", pieces(5000, 0), "bound the fragments of a message", "the default; Limits.Fragments"),
		flood("flood-fragments", "a message of 5,000 fragments of a byte", "ATTACKS D3", pieces(5000, 1), "bound the fragments of a message", "the default; Limits.Fragments"),
		flood("flood-messages", "1,500 messages at once", "ATTACKS D5", many(1500, probe.Text, 10), "bound messages by rate: read later what comes too early", "the default; Limits.Messages"),
		flood("flood-bytes", "12 MiB in messages of 16 KiB at once", "ATTACKS D5", many(768, probe.Text, 16<<10), "bound bytes by rate: read later what comes too early", "the default; Limits.Bytes"),
		deflated("compression-bomb", "64 MiB of zeros in 64 KB", "CVE-2026-1526", zeros),
		deflated("compression-empty", "a compressed message of 2 MiB that inflates to nothing", "ATTACKS W7", hollow),
	)
}

// flood is what a server must not work off as if it were nothing: it ends the session, or takes its time. The first part,
// which bounds let pass as a burst, shows how much of that time is its own: on a busy machine any server is slow.
func flood(id, title, ref string, sent func() (first, rest []byte), fix, option string) Attack {
	return Attack{ID: id, Title: title, Refs: []string{ref}, Fix: fix, Option: option, Run: func(ctx context.Context, t *Target) Verdict {
		l, v, ok := t.session(ctx)
		if !ok {
			return v
		}
		defer l.Close()
		l.Timeout = longestWork
		first, rest := sent()
		began := time.Now()
		e := l.pour(first, worked)
		part := time.Since(began)
		wait := worked
		if e.alive {
			wait = min(max(worked, unhindered(part)), longestWork)
			e = l.pour(rest, wait)
		}
		took := time.Since(began).Round(time.Millisecond)
		switch {
		case e.over():
			return l.answers(ctx, t, title, e, time.Since(began))
		case e.alive && took <= worked:
			return broken(title, e.String(), "all of it was worked off within %v", took)
		case e.alive || wait == longestWork:
			return unclear(title, e.String(), "the server, or the way to it, is too slow to tell: of %v the first twentieth alone took %v", took, part.Round(time.Millisecond))
		}
		return held(title, "the server took its time: no answer to a ping behind it within "+wait.Round(time.Millisecond).String())
	}}
}

// longestWork is how long a flood may take at most.
const longestWork = 20 * time.Second

// parts is in how many a flood is cut. The first must be within anybody's burst: a bound of 60 messages a second may well let
// 120 through.
const parts = 20

// unhindered is what the rest of a flood takes a server that does not hold it back, when its first part has taken so long:
// as long for each part, and as much again for what else the machine is asked to do meanwhile.
func unhindered(part time.Duration) time.Duration { return 2 * (parts - 1) * part }

// deflated is a compressed message that must end the session.
func deflated(id, title, ref string, body func() []byte) Attack {
	return Attack{
		ID: id, Title: title, Severity: High, Refs: []string{ref, "CWE-409"},
		Why: "a few bytes on the wire cost the server megabytes, or seconds",
		Fix: "bound the size after inflation and the bytes on the wire", Option: "the default: no compression; under AllowCompression both are bounded",
		Run: func(ctx context.Context, t *Target) Verdict {
			h := t.Honest().Set("Sec-WebSocket-Extensions", "permessage-deflate; client_no_context_takeover; server_no_context_takeover")
			l, a := t.open(ctx, h)
			if l == nil {
				return unclear("an offer of permessage-deflate", t.got(a), "no session could be opened")
			}
			defer l.Close()
			if a.status() != 101 {
				return unclear("an offer of permessage-deflate", t.got(a), "no session could be opened")
			}
			if !strings.Contains(a.response.Get("Sec-WebSocket-Extensions"), "permessage-deflate") {
				return held("an offer of permessage-deflate", "it was declined")
			}
			f := probe.Message(probe.Binary, body())
			f.RSV = 4
			began := time.Now()
			e := l.pour(probe.AppendFrame(nil, f), t.within(worked))
			if e.over() {
				return l.answers(ctx, t, title, e, time.Since(began))
			}
			return broken(title, e.String(), "it was not refused")
		},
	}
}

// zeros is 64 MiB of them, as permessage-deflate sends a message (RFC 7692, section 7.2.1): one megabyte, again and again.
func zeros() []byte {
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestCompression)
	if err != nil {
		panic(err)
	}
	w.Write(make([]byte, 1<<20))
	w.Flush()
	return bytes.TrimSuffix(bytes.Repeat(b.Bytes(), 64), []byte{0, 0, 0xFF, 0xFF})
}

// hollow is stored blocks of no bytes.
func hollow() []byte { return bytes.Repeat([]byte{0, 0, 0, 0xFF, 0xFF}, 2<<20/5) }
