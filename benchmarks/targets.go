package benchmarks

import (
	"fmt"
	"sync"
	"testing"
)

// A target is one figure to reach. It is missed when all of three runs are 5 %
// beyond it; a missed one is an issue with a profile, not a changed number.
type target struct {
	name  string // its number, and what is measured beside what
	unit  string // "ratio", or of an absolute figure
	goal  float64
	floor bool // the goal is the least, not the most
	why   why  // it is missed, where a profile has told
}

// slack is how far beyond its goal a figure may be, since machines are noisy.
const slack = 0.05

// why a target is missed, for the report.
type why string

const (
	whyHandshake why = "by a profile, of an admission in memory three tenths are coder's own Accept and Close, an eighth questions to the store, for leases, the nonce and marks, a tenth the checks before them, a twelfth each the session with its place among the others and the meter with its timer, and 7 % the session's end; no part stands out. Of its 56 allocations 38 are coder's."
	whyMessage   why = "by a profile and its parts, measured apart: of what a small Read costs more a third is the meter's lock, taken twice, a sixth the lock by which one caller reads a message whole, and half the judging of the header, the budgets and the looks for an end: 22, 11 and 33 ns here. A message larger than the session's small buffer passes the meter in two parts, which takes its locks twice, and joins or copies them."
	whyPipelined why = "by a profile, of an echo of 64 B three quarters are the system call of its Write: one for each message, on both sides."
	whyIdle      why = "by a heap profile and the sizes of its parts: 4.1 KB are the stack that any blocked read needs, 1.5 KB coder's own Conn, 0.8 KB the socket and its goroutine, 0.55 the two buffers; of ours are the meter (0.58), the session with its place in the registry (0.48), the timer (0.13), the Conn (0.11), the nonce that the store remembers (0.05). A token of its own adds 2.7 KB for as long as it is cached: its claims as the application sees them (1.0), the identity and its names (0.7), the token's text, which the next handshake's is compared with (0.5), the subject's record in the store and the names in the registry (0.4)."
	whyRefusal   why = "by a profile, of a refusal in memory a quarter is the answer (eight header keys in a map, which any answer with as many pays, and the body), an eighth the shape, 7 to 9 % the addresses of both sides, 6 % each the origin, a look at the clock and the id, and the benchmark's own loop; where the address is counted, a sixth is its rate in the store. A tenth and more of it all goes to telling the collector, which nearly always runs then, of pointers written. No part stands out; the same bad token again has the bytes and the hash of the token on top, a sixth."
	whyLimiter   why = "by a profile, of a rate check over all numbers of clients 38 % are the look into its cells, most of it misses of the cache, 22 % the clock and 12 % the hash of the address; whether a machine without other work, on which both goroutines run at once, comes nearer has not been seen."
	whySignature why = "by a profile, of a wrong signature 55 % are crypto/rsa, half of it making ready the same public key each time, and 9 % the decoding of its JSON."
	whyListener  why = "by a profile, of a connection refused at Accept 95 % are the kernel's accept and close and the runtime's waits for them; 3 % are the bans, the counter and the event. Of its eleven system calls four set the kernel's keep-alive, some 1.5 µs of 28; Serve has them made for connections that are handed on alone, a listener of the caller's own comes with them."
	whyTLS       why = "the system calls are as many as bare coder's, but for those that wake a thread for one goroutine more. By a profile of both sides in turns, of some 50 µs more 12 are the checks, 10 a read on a fresh stack and the goroutine that closes behind it, 20 the scheduler, half of it on looking whether a timer is due, which bare coder never has. Coder with a goroutine, a context and a timer of its own has part of this too: see its row."
)

// targets is what the guard has to reach.
var targets = []target{
	{name: "0 two equals", unit: "ratio", goal: 1},

	{name: "1 admitted, token seen before / coder with duties", unit: "ratio", goal: 1.05, why: whyHandshake},
	{name: "1 admitted, token seen before / coder with duties, closed properly", unit: "ratio", goal: 1.05, why: whyHandshake},

	{name: "4 refused, origin / composed", unit: "ratio", goal: 0.12, why: whyRefusal},
	{name: "4 refused, no token / composed", unit: "ratio", goal: 0.12, why: whyRefusal},
	{name: "4 refused, over the limit / composed", unit: "ratio", goal: 0.12, why: whyRefusal},
	{name: "5 bad signature / composed", unit: "ratio", goal: 0.65, why: whySignature},
	{name: "5 the same bad token again / composed", unit: "ratio", goal: 0.02, why: whyRefusal},

	{name: "6 flooding address over TLS, server CPU, Listener / in the handler", unit: "ratio", goal: 0.05, why: whyListener},

	{name: "7 rate check / sethvargo, 1e3 keys", unit: "ratio", goal: 0.45, why: whyLimiter},
	{name: "7 rate check / sethvargo, 1e5 keys", unit: "ratio", goal: 0.45, why: whyLimiter},
	{name: "7 rate check, 1e6 keys / 1e3 keys", unit: "ratio", goal: 2, why: whyLimiter},
	{name: "7 refused / httprate", unit: "ratio", goal: 0.06, why: whyLimiter},
	{name: "8 a tracked client, 1e6 keys", unit: "B", goal: 24},
	{name: "8 a tracked client / map with x/time/rate, 1e6 keys", unit: "ratio", goal: 0.16},
	{name: "8 live clients evicted at the rated load", unit: "%", goal: 0.5},

	{name: "10 ReadInto on top of coder's Reader, 64 B", unit: "ns more", goal: 50, why: whyMessage},
	{name: "10 ReadInto on top of coder's Reader, 64 B, 7 in a packet", unit: "ns more", goal: 50, why: whyMessage},
	{name: "10 ReadInto on top of coder's Reader, 1 KiB", unit: "ns more", goal: 50, why: whyMessage},
	{name: "10 ReadInto on top of coder's Reader, 1 KiB, 7 in a packet", unit: "ns more", goal: 50, why: whyMessage},
	{name: "10 Write on top of coder's, 64 B", unit: "ns more", goal: 50, why: whyMessage},
	{name: "10 Write on top of coder's, 1 KiB", unit: "ns more", goal: 50, why: whyMessage},
	{name: "10 ReadInto / coder's Read, 1 KiB", unit: "ratio", goal: 0.5},
	{name: "10 ReadInto / coder's Read, 64 KiB", unit: "ratio", goal: 0.15},
	{name: "11 every deadline / few, echo of 64 B", unit: "ratio", goal: 1},
	{name: "13 small buffers / coder, pipelined 64 B", unit: "ratio", goal: 0.9, why: whyPipelined},
	{name: "13 small buffers / coder, pipelined 1 KiB", unit: "ratio", goal: 0.9},
	{name: "13 small buffers / coder, pipelined 64 KiB", unit: "ratio", goal: 0.9},

	{name: "12 idle session, RSS", unit: "B", goal: 9000, why: whyIdle},
	{name: "12 idle session, RSS / coder in the handler", unit: "ratio", goal: 0.38, why: whyIdle},
	{name: "12 idle session, heap", unit: "B", goal: 3400, why: whyIdle},
	{name: "12 idle session, goroutines", unit: "each", goal: 1},

	{name: "revoking one subject's 50 of 50,000 sockets, the slowest of 20", unit: "ms", goal: 100},

	{name: "14 TLS 1.3 admission, server CPU / coder", unit: "ratio", goal: 1.01, why: whyTLS},
	{name: "15 reconnect storm, full / coder", unit: "ratio", goal: 0.97, floor: true},
	{name: "15 reconnect storm, resumed / coder", unit: "ratio", goal: 0.97, floor: true},
	{name: "16 honest rate under flood with Listener / undisturbed", unit: "ratio", goal: 0.8, floor: true},
}

// missed tells whether v alone would miss the goal.
func (t target) missed(v float64) bool {
	if t.floor {
		return v < t.goal*(1-slack)
	}
	return v > t.goal*(1+slack)
}

func findTarget(name string) (target, error) {
	for _, t := range targets {
		if t.name == name {
			return t, nil
		}
	}
	return target{}, fmt.Errorf("targets.go has no %q", name)
}

// figures are what the benchmarks of this run have seen, by target; those that
// have no target are by name too.
var figures = struct {
	sync.Mutex
	order []string
	of    map[string][]float64
	unit  map[string]string
}{of: map[string][]float64{}, unit: map[string]string{}}

// judge notes a figure that has a target, and reports how far it is used up: 1
// is the goal itself.
func judge(b *testing.B, name string, v float64) {
	b.Helper()
	t, err := findTarget(name)
	if err != nil {
		b.Fatal(err)
	}
	note(name, t.unit, v)
	b.ReportMetric(v/t.goal, "of-target")
}

// note keeps a figure for the report.
func note(name, unit string, v float64) {
	figures.Lock()
	defer figures.Unlock()
	if figures.of[name] == nil {
		figures.order = append(figures.order, name)
	}
	figures.of[name] = append(figures.of[name], v)
	figures.unit[name] = unit
}
