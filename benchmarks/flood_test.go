package benchmarks

import (
	"context"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wssecure/wssecure"
)

// A turnedAway server refuses whoever comes from 127.0.0.1, each in its place.
type turnedAway struct {
	name     string
	listener bool
	option   wssecure.Option
	banned   bool
	all      func(o outcomes) int // that ended as they should
}

var (
	once = wssecure.Rate{N: 1, Per: time.Hour, Burst: 1}

	inTheHandler = turnedAway{name: "in the handler", option: wssecure.LimitHandshakes(wssecure.ByIP(), once), all: func(o outcomes) int { return o.Refused }}
	atHello      = turnedAway{name: "at the ClientHello", option: manyHandshakes, banned: true, all: func(o outcomes) int { return o.TLS }}
	atListener   = turnedAway{name: "Listener", listener: true, option: wssecure.LimitAccepts(once), all: func(o outcomes) int { return o.Reset }}
)

// BenchmarkTurnedAway is what an address that floods over TLS costs the server's
// processors, by the place at which it is refused. The client is a process of
// its own.
func BenchmarkTurnedAway(b *testing.B) {
	b.Run(atListener.name, func(b *testing.B) {
		p := compareBy(b, cpuTime, inTheHandler.knocked(b), atListener.knocked(b))
		note("turned away, in the handler, server CPU", "µs", p.baseline.ns/1000)
		note("turned away, Listener, server CPU", "µs", p.candidate.ns/1000)
		judge(b, "6 flooding address over TLS, server CPU, Listener / in the handler", p.ratio)
	})
	b.Run(atHello.name, func(b *testing.B) {
		note("turned away, at the ClientHello / in the handler, server CPU", "ratio", compareBy(b, cpuTime, inTheHandler.knocked(b), atHello.knocked(b)).ratio)
	})
}

// BenchmarkTurnedAwayAlone is the same without its baseline, for profiles.
func BenchmarkTurnedAwayAlone(b *testing.B) {
	for _, x := range []turnedAway{inTheHandler, atHello, atListener} {
		b.Run(x.name, func(b *testing.B) {
			knock := x.knocked(b)
			b.ReportAllocs()
			b.ResetTimer()
			knock(b.N)
		})
	}
}

func (x turnedAway) knocked(tb testing.TB) func(n int) {
	g, srv, to, err := listenTLS(x.listener, x.option)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = srv.Close() })
	client := start(tb, "knocker", to)
	var seen outcomes
	client.ask(tb, "1", &seen) // spends the one that may come in
	if x.banned {
		if err := g.Ban(context.Background(), wssecure.Network(netip.MustParsePrefix("127.0.0.1/32")), time.Hour, "a benchmark"); err != nil {
			tb.Fatal(err)
		}
	}
	return func(n int) {
		var seen outcomes
		client.ask(tb, strconv.Itoa(n), &seen)
		if x.all(seen) != n {
			tb.Fatalf("%s: of %d connections %+v", x.name, n, seen)
		}
	}
}

// TestTurnedAway: a place that does not refuse would win every pair, or lose it.
func TestTurnedAway(t *testing.T) {
	for _, x := range []turnedAway{inTheHandler, atHello, atListener} {
		x.knocked(t)(3)
	}
}

const (
	floodSettles = 300 * time.Millisecond // the burst of LimitAccepts is spent
	floodTime    = 1500 * time.Millisecond
	floodRounds  = 3
)

// BenchmarkFlood is how many honest ones still come in while one address floods,
// beside how many come in while a process does as much work and bothers nobody.
// Server, honest and flooder are three processes. That takes four cores: with
// fewer they disturb each other without a flood, so the ratio is noted and not
// judged.
func BenchmarkFlood(b *testing.B) {
	for _, listener := range []bool{false, true} {
		name := map[bool]string{false: "without Listener", true: "with Listener"}[listener]
		b.Run(name, func(b *testing.B) {
			if b.N > 1 {
				return // it has been measured
			}
			f := runFlood(b, listener)
			b.ReportMetric(f.ratio, "ratio")
			b.ReportMetric(f.p99, "flooded-p99-ms")
			b.ReportMetric(f.flood, "flood/s")
			note("honest p99 under flood "+name, "ms", f.p99)
			note("flooding connections "+name, "1/s", f.flood)
			if listener && runtime.NumCPU() >= 4 {
				judge(b, "16 honest rate under flood with Listener / undisturbed", f.ratio)
				return
			}
			note("honest rate under flood "+name+" / undisturbed, not pinned", "ratio", f.ratio)
		})
	}
}

// flooded is what a flood has done; medians of the rounds.
type flooded struct {
	ratio float64 // of the honest rates
	p99   float64 // of the honest ones under flood, in ms
	flood float64 // connections a second
}

func runFlood(tb testing.TB, listener bool) flooded {
	server := start(tb, "flooded", listener)
	defer server.stop()
	var to string
	server.ask(tb, "", &to)
	good, bad, idle := start(tb, "honest", to), start(tb, "flooder", floodArguments{To: to}), start(tb, "flooder", floodArguments{To: to, Spin: true})
	defer good.stop()
	defer bad.stop()
	defer idle.stop()
	if runtime.NumCPU() >= 4 {
		pin(tb, server, 0, 1)
		pin(tb, good, 2)
		pin(tb, bad, 3)
		pin(tb, idle, 3)
	}
	var ratios, p99, speed []float64
	for range floodRounds {
		calm, _ := disturbed(tb, good, idle)
		storm, n := disturbed(tb, good, bad)
		if calm.Rate == 0 || calm.Bad+storm.Bad > 0 {
			tb.Fatalf("honest ones were refused: %+v, and %+v under flood", calm, storm)
		}
		ratios, p99, speed = append(ratios, storm.Rate/calm.Rate), append(p99, storm.P99), append(speed, float64(n)/(floodSettles+floodTime).Seconds())
	}
	return flooded{quantile(ratios, 0.5), quantile(p99, 0.5), quantile(speed, 0.5)}
}

// disturbed lets the honest ones work beside the other.
func disturbed(tb testing.TB, good, other *process) (h honest, n int) {
	if _, err := io.WriteString(other.stdin, (floodSettles+floodTime).String()+"\n"); err != nil {
		tb.Fatal(err)
	}
	time.Sleep(floodSettles)
	good.ask(tb, floodTime.String(), &h)
	other.ask(tb, "", &n)
	return h, n
}

// pin keeps all threads of a process, and those that they start, to some cores.
func pin(tb testing.TB, p *process, cores ...int) {
	var set unix.CPUSet
	for _, c := range cores {
		set.Set(c)
	}
	threads, err := os.ReadDir(filepath.Join("/proc", strconv.Itoa(p.cmd.Process.Pid), "task"))
	if err != nil {
		tb.Fatal(err)
	}
	for _, t := range threads {
		if id, err := strconv.Atoi(t.Name()); err == nil {
			err = unix.SchedSetaffinity(id, &set)
			if err != nil {
				tb.Fatal(err)
			}
		}
	}
}
