package benchmarks

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"testing"
	"time"

	coder "github.com/coder/websocket"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/internal/memnet"
)

// sizes of messages.
var sizes = []struct {
	name string
	n    int
}{{"64 B", 64}, {"1 KiB", 1 << 10}, {"64 KiB", 64 << 10}}

// openGuarded opens a session and gives its connection out of user code.
func openGuarded(tb testing.TB, peer *memnet.Conn, more ...wssecure.Option) *wssecure.Conn {
	tb.Helper()
	if len(more) == 0 {
		more = append(more, manyMessages(wssecure.Limits{}))
	}
	g, token := newGuard(tb, slog.DiscardHandler, more...)
	handler, opened := handingOut(tb, g)
	tb.Cleanup(func() { peer.Over.Store(true) })
	go handler.ServeHTTP(memnet.NewWriter(peer), memnet.Request(token))
	return <-opened
}

// manyMessages is l with rates that do not hold up a benchmark.
func manyMessages(l wssecure.Limits) wssecure.Option {
	l.Messages, l.Bytes = lots, lots
	return wssecure.LimitSession(l)
}

// handingOut is user code that gives its connection to the benchmark.
func handingOut(tb testing.TB, g *wssecure.Guard) (http.Handler, <-chan *wssecure.Conn) {
	opened, done := make(chan *wssecure.Conn), make(chan struct{})
	tb.Cleanup(func() { close(done) })
	return g.ConnHandler(func(_ context.Context, c *wssecure.Conn) error {
		opened <- c
		<-done
		return c.Close(wssecure.StatusNormalClosure, "")
	}), opened
}

func openCoder(tb testing.TB, peer net.Conn) *coder.Conn {
	tb.Helper()
	s, err := acceptCoder(memnet.NewWriter(peer), memnet.Request(""))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = s.close() })
	return s.(coderSocket).Conn
}

// echoInto is an echo as the guard's users write it.
func echoInto(tb testing.TB, c *wssecure.Conn, size int) func(n int) {
	ctx, buf := c.Session().Context(), make([]byte, size+1)
	return func(n int) {
		for range n {
			typ, p, err := c.ReadInto(ctx, buf)
			if err == nil {
				err = c.Write(ctx, typ, p)
			}
			if err != nil || len(p) != size {
				tb.Fatalf("%d bytes, %v", len(p), err)
			}
		}
	}
}

// echoReader is the quickest echo over coder: its Reader, into a buffer that is
// used again, and no context that can end.
func echoReader(tb testing.TB, c *coder.Conn, size int) func(n int) {
	ctx, buf := context.Background(), make([]byte, size+1)
	return func(n int) {
		for range n {
			typ, r, err := c.Reader(ctx)
			var k int
			if err == nil {
				k, err = readAll(r, buf)
			}
			if err == nil {
				err = c.Write(ctx, typ, buf[:k])
			}
			if err != nil || k != size {
				tb.Fatalf("%d bytes, %v", k, err)
			}
		}
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

// echoRead is an echo as most programs write it.
func echoRead(tb testing.TB, c *coder.Conn, timeout time.Duration) func(n int) {
	return func(n int) {
		for range n {
			ctx, cancel := context.Background(), context.CancelFunc(func() {})
			if timeout > 0 {
				ctx, cancel = context.WithTimeout(ctx, timeout)
			}
			typ, p, err := c.Read(ctx)
			if err == nil {
				err = c.Write(ctx, typ, p)
			}
			cancel()
			if err != nil {
				tb.Fatal(err)
			}
		}
	}
}

// BenchmarkEchoBesideReader is what the guard adds to coder at its quickest. Neither
// side of this one, and of the other absolute figures, allocates or waits: what it
// spends of the processor is the time it takes, whatever else the machine does.
func BenchmarkEchoBesideReader(b *testing.B) {
	for _, size := range sizes {
		b.Run(size.name, func(b *testing.B) {
			feed := memnet.Frames(size.n, 1)
			p := compareBy(b, cpuTime,
				echoReader(b, openCoder(b, &memnet.Conn{Feed: feed}), size.n),
				echoInto(b, openGuarded(b, &memnet.Conn{Feed: feed}), size.n))
			note("echo on top of coder's Reader and Write, "+size.name, "ns more", p.more)
		})
	}
}

// BenchmarkEchoBesideIdioms is the guard's echo beside those of most programs,
// which have a timeout for each call, or none at all.
func BenchmarkEchoBesideIdioms(b *testing.B) {
	for _, size := range sizes {
		feed := memnet.Frames(size.n, 1)
		for _, row := range []struct {
			name    string
			timeout time.Duration
		}{{"without a timeout", 0}, {"timeout per call", time.Minute}} {
			b.Run(size.name+", "+row.name, func(b *testing.B) {
				p := compare(b,
					echoRead(b, openCoder(b, &memnet.Conn{Feed: feed}), row.timeout),
					echoInto(b, openGuarded(b, &memnet.Conn{Feed: feed}), size.n))
				note("echo of "+size.name+" / coder's Read and Write, "+row.name, "ratio", p.ratio)
			})
		}
	}
}

// BenchmarkEchoAlone is the guard's echo without its baseline, for profiles.
func BenchmarkEchoAlone(b *testing.B) {
	for _, size := range sizes {
		b.Run(size.name, func(b *testing.B) {
			run := echoInto(b, openGuarded(b, &memnet.Conn{Feed: memnet.Frames(size.n, 1)}), size.n)
			b.ReportAllocs()
			b.ResetTimer()
			run(b.N)
		})
	}
}

// BenchmarkReadInto is ReadInto beside coder's Read.
func BenchmarkReadInto(b *testing.B) {
	for _, size := range sizes {
		b.Run(size.name, func(b *testing.B) {
			feed, ctx, buf := memnet.Frames(size.n, 1), context.Background(), make([]byte, size.n+1)
			theirs := openCoder(b, &memnet.Conn{Feed: feed})
			ours := openGuarded(b, &memnet.Conn{Feed: feed})
			p := compare(b, func(n int) {
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
			if name := "10 ReadInto / coder's Read, " + size.name; size.n >= 1<<10 {
				judge(b, name, p.ratio)
			} else {
				note(name, "ratio", p.ratio)
			}
		})
	}
}

// BenchmarkReadAlone and BenchmarkWriteAlone are halves of the echo. Messages
// that come in one packet share what a Read costs.
func BenchmarkReadAlone(b *testing.B) {
	for _, row := range []struct {
		name            string
		size, inAPacket int
	}{{"64 B", 64, 1}, {"64 B, 7 in a packet", 64, 7}, {"1 KiB", 1 << 10, 1}, {"1 KiB, 7 in a packet", 1 << 10, 7}, {"64 KiB", 64 << 10, 1}} {
		b.Run(row.name, func(b *testing.B) {
			feed, ctx, buf := memnet.Frames(row.size, row.inAPacket), context.Background(), make([]byte, row.size+1)
			theirs := openCoder(b, &memnet.Conn{Feed: feed})
			ours := openGuarded(b, &memnet.Conn{Feed: feed})
			p := compareBy(b, cpuTime, func(n int) {
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
			if name := "10 ReadInto on top of coder's Reader, " + row.name; row.size <= 1<<10 {
				judge(b, name, p.more)
			} else {
				note(name, "ns more", p.more)
			}
		})
	}
}

func BenchmarkWriteAlone(b *testing.B) {
	for _, size := range sizes {
		b.Run(size.name, func(b *testing.B) {
			ctx, message := context.Background(), make([]byte, size.n)
			theirs, ours := openCoder(b, &memnet.Conn{}), openGuarded(b, &memnet.Conn{})
			p := compareBy(b, cpuTime, func(n int) {
				for range n {
					if err := theirs.Write(ctx, coder.MessageBinary, message); err != nil {
						b.Fatal(err)
					}
				}
			}, func(n int) {
				for range n {
					if err := ours.Write(ctx, wssecure.MessageBinary, message); err != nil {
						b.Fatal(err)
					}
				}
			})
			if name := "10 Write on top of coder's, " + size.name; size.n <= 1<<10 {
				judge(b, name, p.more)
			} else {
				note(name, "ns more", p.more)
			}
		})
	}
}

// BenchmarkDeadlines is a session with every deadline there is beside one with
// as few as there can be.
func BenchmarkDeadlines(b *testing.B) {
	feed := memnet.Frames(64, 1)
	few := openGuarded(b, &memnet.Conn{Feed: feed}, wssecure.SetPing(time.Hour), manyMessages(wssecure.Limits{}))
	all := openGuarded(b, &memnet.Conn{Feed: feed}, wssecure.SetPing(time.Second),
		manyMessages(wssecure.Limits{Idle: time.Hour, Lifetime: 2 * time.Hour, Write: time.Second}))
	judge(b, "11 every deadline / few, echo of 64 B", compareBy(b, cpuTime, echoInto(b, few, 64), echoInto(b, all, 64)).ratio)
}

// BenchmarkPipelined is an echo over loopback TCP to a client that has 64
// messages on their way.
func BenchmarkPipelined(b *testing.B) {
	for _, size := range sizes {
		b.Run(size.name, func(b *testing.B) {
			g, token := newGuard(b, slog.DiscardHandler, manyMessages(wssecure.Limits{}))
			handler, guarded := handingOut(b, g)
			bare := make(chan *coder.Conn)
			ours := pumped(b, handler, token, size.n)
			theirs := pumped(b, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				s, err := acceptCoder(w, r)
				if err != nil {
					b.Error(err)
					return
				}
				bare <- s.(coderSocket).Conn
			}), "", size.n)
			go ours()
			go theirs()
			p := compare(b, echoRead(b, <-bare, 0), echoInto(b, <-guarded, size.n))
			judge(b, "13 small buffers / coder, pipelined "+size.name, p.ratio)
		})
	}
}

// pumped serves h to a pump, which start starts.
func pumped(b *testing.B, h http.Handler, token string, size int) (startPump func()) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	srv := &http.Server{Handler: h}
	go srv.Serve(l)
	b.Cleanup(func() { srv.Close() })
	return func() { start(b, "pump", pumpArguments{To: l.Addr().String(), Token: token, Size: size, Depth: 64}) }
}
