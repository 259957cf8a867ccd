package wssecure_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/wssecure/wssecure"
)

// The benchmarks with "ns/op of" in their output are pairs: the baseline and
// ours alternate in one run, since only ratios inside one run count on a machine
// that has other work too.

// sliceTime is how long each side of a pair runs, at least, before the other has
// its turn: short, so that what disturbs the machine disturbs both.
const sliceTime = 5 * time.Millisecond

// benchPair measures two ways to do the same, each of which is given how often, and
// reports the medians of the slices, the median ratio, and how far apart the
// middle half of the ratios lies.
func benchPair(b *testing.B, baseline, candidate func(n int)) {
	n := 1
	for min(runSlice(baseline, n).time, runSlice(candidate, n).time) < sliceTime {
		n *= 2
	}
	var base, ours []sliceCost
	var ratios []float64
	for swap := false; b.Loop(); swap = !swap {
		first, second := baseline, candidate
		if swap {
			first, second = candidate, baseline
		}
		x, y := runSlice(first, n), runSlice(second, n)
		if swap {
			x, y = y, x
		}
		base, ours = append(base, x), append(ours, y)
		ratios = append(ratios, float64(y.time)/float64(x.time))
	}
	slices.Sort(ratios)
	each := func(c sliceCost) float64 { return float64(c.time.Nanoseconds()) / float64(n) }
	b.ReportMetric(each(medianCost(base)), "ns/op-of-baseline")
	b.ReportMetric(each(medianCost(ours)), "ns/op")
	b.ReportMetric(each(medianCost(ours))-each(medianCost(base)), "ns-more")
	b.ReportMetric(float64(medianCost(base).allocs)/float64(n), "allocs/op-of-baseline")
	b.ReportMetric(float64(medianCost(ours).allocs)/float64(n), "allocs/op")
	b.ReportMetric(float64(medianCost(ours).bytes)/float64(n), "B/op")
	b.ReportMetric(ratios[len(ratios)/2], "ratio")
	b.ReportMetric(ratios[len(ratios)*3/4]-ratios[len(ratios)/4], "ratio-spread")
}

type sliceCost struct {
	time          time.Duration
	allocs, bytes uint64
}

func runSlice(run func(n int), n int) sliceCost {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start := time.Now()
	run(n)
	took := time.Since(start)
	runtime.ReadMemStats(&after)
	return sliceCost{took, after.Mallocs - before.Mallocs, after.TotalAlloc - before.TotalAlloc}
}

func medianCost(costs []sliceCost) sliceCost {
	sorted := slices.Clone(costs)
	slices.SortFunc(sorted, func(a, b sliceCost) int { return int(a.time - b.time) })
	return sorted[len(sorted)/2]
}

// BenchmarkResolution is a pair of equals: what its ratio is away from 1, and its
// spread, is what this machine cannot see now.
func BenchmarkResolution(b *testing.B) {
	_, plain := runDuties(b, (*websocket.Conn).CloseNow)
	benchPair(b, plain, plain)
}

// BenchmarkAdmitted is a handshake with a token seen before, through to the end
// of its session, beside coder/websocket with the duties of any real server.
func BenchmarkAdmitted(b *testing.B) {
	b.Run("beside coder, cut", func(b *testing.B) {
		_, baseline := runDuties(b, (*websocket.Conn).CloseNow)
		benchPair(b, baseline, runAdmitted(b))
	})
	b.Run("beside coder, closed", func(b *testing.B) {
		_, baseline := runDuties(b, func(c *websocket.Conn) error { return c.Close(websocket.StatusNormalClosure, "") })
		benchPair(b, baseline, runAdmitted(b))
	})
}

// BenchmarkAdmittedConnHandler is the same without its baseline, for profiles.
func BenchmarkAdmittedConnHandler(b *testing.B) {
	run := runAdmitted(b)
	b.ReportAllocs()
	b.ResetTimer()
	run(b.N)
}

// BenchmarkCoderWithDuties is the baseline alone.
func BenchmarkCoderWithDuties(b *testing.B) {
	_, run := runDuties(b, (*websocket.Conn).CloseNow)
	b.ReportAllocs()
	b.ResetTimer()
	run(b.N)
}

// runAdmitted runs whole sessions through a guard, one after the other: user code
// returns at once, and the next handshake comes when the guard is done with it.
func runAdmitted(tb testing.TB) func(n int) {
	ended := make(chan struct{}, 1)
	g, token := memGuard(tb, memLogger{ended: ended}, fastHandshakes)
	handler := g.ConnHandler(func(context.Context, *wssecure.Conn) error { return nil })
	r, w, keys := memRequest(token), newMemWriter(&memConn{}), &memNonces{}
	return func(n int) {
		for range n {
			keys.set(r)
			handler.ServeHTTP(w.again(), r)
			if w.status != 0 {
				tb.Fatalf("refused with %d", w.status)
			}
			<-ended
		}
	}
}

// duties is what a server without a guard needs as well: user code on a
// goroutine of its own, a context to cancel it, a timer and a list of who is
// there.
type duties struct {
	mu   sync.Mutex
	live map[*websocket.Conn]struct{}
}

func runDuties(tb testing.TB, hangUp func(*websocket.Conn) error) (*duties, func(n int)) {
	d := &duties{live: map[*websocket.Conn]struct{}{}}
	ended := make(chan struct{}, 1)
	serve := func(context.Context, *websocket.Conn) error { return nil }
	handler := func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
		if err != nil {
			tb.Error(err)
			return
		}
		ctx, cancel := context.WithCancel(context.Background())
		timer := time.AfterFunc(time.Hour, cancel)
		d.mu.Lock()
		d.live[c] = struct{}{}
		d.mu.Unlock()
		go func() {
			_ = serve(ctx, c)
			cancel()
			timer.Stop()
			_ = hangUp(c)
			d.mu.Lock()
			delete(d.live, c)
			d.mu.Unlock()
			ended <- struct{}{}
		}()
	}
	r, w, keys := memRequest(""), newMemWriter(&memConn{}), &memNonces{}
	return d, func(n int) {
		for range n {
			keys.set(r)
			handler(w.again(), r)
			<-ended
		}
	}
}

// floods are handshakes that a guard refuses before it looks at a token.
var floods = []struct {
	name   string
	status int
	option wssecure.Option
	change func(*http.Request)
}{
	// Trusted networks have no budget of refused origins, which would cut the answers.
	{"Origin", 403, wssecure.TrustNetworks("many floods", "203.0.113.0/24"), func(r *http.Request) { r.Header["Origin"] = []string{"https://evil.example"} }},
	{"Version", 426, fastHandshakes, func(r *http.Request) { r.Header["Sec-Websocket-Version"] = []string{"8"} }},
	{"NoToken", 401, fastHandshakes, func(r *http.Request) { delete(r.Header, "Authorization") }},
	{"Rate", 429, wssecure.LimitHandshakes(wssecure.ByIP(), wssecure.PerMinute(1)), func(r *http.Request) { delete(r.Header, "Authorization") }},
}

// runRefused makes a guard and runs one refusal through it, again and again.
func runRefused(tb testing.TB, i int) func() {
	row := floods[i]
	g, token := memGuard(tb, memLogger{}, row.option)
	handler := g.ConnHandler(func(context.Context, *wssecure.Conn) error { return nil })
	r, w := memRequest(token), newMemWriter(&memConn{})
	row.change(r)
	once := func() {
		w.header, w.status = make(http.Header), 0
		handler.ServeHTTP(w, r)
	}
	once() // spends the one token of "Rate"
	return func() {
		if once(); w.status != row.status {
			tb.Fatalf("status %d, want %d", w.status, row.status)
		}
	}
}

func BenchmarkRefused(b *testing.B) {
	for i, row := range floods {
		b.Run(row.name, func(b *testing.B) {
			once := runRefused(b, i)
			b.ReportAllocs()
			for b.Loop() {
				once()
			}
		})
	}
}

// BenchmarkOrdinaryHeaders is a request that is no upgrade on its way through
// Handler.
func BenchmarkOrdinaryHeaders(b *testing.B) {
	g, _ := memGuard(b, memLogger{})
	handler := g.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	r, w := memRequest(""), newMemWriter(&memConn{})
	for name := range r.Header {
		if name == "Upgrade" || len(name) > 4 && name[:4] == "Sec-" {
			delete(r.Header, name)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		w.header = make(http.Header)
		handler.ServeHTTP(w, r)
	}
}

var memSizes = []struct {
	name string
	n    int
}{{"64B", 64}, {"1KiB", 1 << 10}, {"64KiB", 64 << 10}}

// BenchmarkRead is ReadInto beside coder's Reader into the same buffer.
func BenchmarkRead(b *testing.B) {
	for _, size := range memSizes {
		b.Run(size.name, func(b *testing.B) {
			ours, theirs := memSession(b, memFrame(size.n)), coderSession(b, memFrame(size.n))
			ctx, buf := context.Background(), make([]byte, size.n+1)
			benchPair(b, func(n int) {
				for range n {
					_, r, err := theirs.Reader(ctx)
					if err == nil {
						_, err = readAll(r, buf)
					}
					if err != nil {
						b.Fatal(err)
					}
				}
			}, func(n int) {
				for range n {
					if _, _, err := ours.ReadInto(ctx, buf); err != nil {
						b.Fatal(err)
					}
				}
			})
		})
	}
}

// BenchmarkReadBesideRead is ReadInto beside coder's Read, as most programs call
// it.
func BenchmarkReadBesideRead(b *testing.B) {
	for _, size := range memSizes {
		b.Run(size.name, func(b *testing.B) {
			ours, theirs := memSession(b, memFrame(size.n)), coderSession(b, memFrame(size.n))
			ctx, buf := context.Background(), make([]byte, size.n+1)
			benchPair(b, func(n int) {
				for range n {
					if _, _, err := theirs.Read(ctx); err != nil {
						b.Fatal(err)
					}
				}
			}, func(n int) {
				for range n {
					if _, _, err := ours.ReadInto(ctx, buf); err != nil {
						b.Fatal(err)
					}
				}
			})
		})
	}
}

// readAll reads r to its end into buf, which has room for it.
func readAll(r io.Reader, buf []byte) (n int, err error) {
	for err == nil {
		var k int
		k, err = r.Read(buf[n:])
		n += k
	}
	if err == io.EOF {
		return n, nil
	}
	return n, err
}

// BenchmarkWrite is Write beside coder's.
func BenchmarkWrite(b *testing.B) {
	for _, size := range memSizes {
		b.Run(size.name, func(b *testing.B) {
			ours, theirs := memSession(b, nil), coderSession(b, nil)
			ctx, p := context.Background(), make([]byte, size.n)
			benchPair(b, func(n int) {
				for range n {
					if err := theirs.Write(ctx, websocket.MessageBinary, p); err != nil {
						b.Fatal(err)
					}
				}
			}, func(n int) {
				for range n {
					if err := ours.Write(ctx, wssecure.MessageBinary, p); err != nil {
						b.Fatal(err)
					}
				}
			})
		})
	}
}

// memSession opens a session whose peer sends feed again and again, and gives
// its connection out of user code.
func memSession(tb testing.TB, feed []byte) *wssecure.Conn {
	tb.Helper()
	peer := &memConn{feed: feed}
	return memSessionOver(tb, peer, &peer.over)
}

// memSessionOver is memSession over a connection that over brings to its end.
func memSessionOver(tb testing.TB, peer net.Conn, over *atomic.Bool) *wssecure.Conn {
	tb.Helper()
	g, token := memGuard(tb, memLogger{})
	opened, done := make(chan *wssecure.Conn), make(chan struct{})
	handler := g.ConnHandler(func(_ context.Context, c *wssecure.Conn) error {
		opened <- c
		<-done
		return nil
	})
	tb.Cleanup(func() {
		over.Store(true)
		close(done)
	})
	go handler.ServeHTTP(newMemWriter(peer), memRequest(token))
	return <-opened
}

func coderSession(tb testing.TB, feed []byte) *websocket.Conn {
	tb.Helper()
	c, err := websocket.Accept(newMemWriter(&memConn{feed: feed}), memRequest(""), &websocket.AcceptOptions{InsecureSkipVerify: true})
	if err != nil {
		tb.Fatal(err)
	}
	c.SetReadLimit(-1)
	tb.Cleanup(func() { _ = c.CloseNow() })
	return c
}
