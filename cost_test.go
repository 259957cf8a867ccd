package wssecure_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/internal/memnet"
)

// What is exact about speed and memory is tested here; ratios are benchmarks.

func TestRefusalsAllocateLittle(t *testing.T) {
	for i, row := range floods {
		t.Run(row.name, func(t *testing.T) {
			most := 2.0 // the writer's: its header map, and the group of the first eight keys
			if row.status == http.StatusUpgradeRequired {
				most = 4 // of its nine keys the ninth makes the map grow
			}
			once := runRefused(t, i)
			if n := testing.AllocsPerRun(200, once); n > most {
				t.Errorf("%.0f allocations, want at most %.0f", n, most)
			}
		})
	}
}

// deadlineWriter counts the deadlines for what is still to be read.
type deadlineWriter struct {
	*memnet.Writer
	deadlines int
}

func (w *deadlineWriter) SetReadDeadline(time.Time) error {
	w.deadlines++
	return nil
}

// On a socket a deadline is a timer: a refusal arms one for a body that may never
// come, whatever it is refused for, and none for a handshake as it should be.
func TestRefusalsArmADeadlineForABodyAlone(t *testing.T) {
	for i, row := range floods {
		for _, body := range []struct {
			name string
			set  func(*http.Request)
			want int
		}{
			{"none", func(*http.Request) {}, 0},
			{"net/http's none", func(r *http.Request) { r.Body = http.NoBody }, 0},
			{"five bytes", func(r *http.Request) { r.Body, r.ContentLength = io.NopCloser(strings.NewReader("hello")), 5 }, 1},
			{"chunked", func(r *http.Request) {
				r.Body, r.ContentLength, r.TransferEncoding = io.NopCloser(strings.NewReader("")), -1, []string{"chunked"}
			}, 1},
			{"taken away by middleware", func(r *http.Request) { r.Body, r.ContentLength = http.NoBody, 5 }, 1},
			{"middleware's", func(r *http.Request) { r.Body = http.MaxBytesReader(nil, http.NoBody, 1) }, 1},
		} {
			t.Run(row.name+", body "+body.name, func(t *testing.T) {
				g, token := memGuard(t, memnet.DeafLog{}, floods[i].option)
				r, w := memnet.Request(token), &deadlineWriter{Writer: memnet.NewWriter(&memnet.Conn{})}
				row.change(r)
				body.set(r)
				handler := g.ConnHandler(func(context.Context, *wssecure.Conn) error { return nil })
				handler.ServeHTTP(w, r)
				if w.Status < 400 || w.deadlines != body.want {
					t.Errorf("status %d after %d deadlines, want a refusal after %d", w.Status, w.deadlines, body.want)
				}
			})
		}
	}
}

func TestMessagesAllocateNothing(t *testing.T) {
	for _, size := range memSizes {
		t.Run("ReadInto "+size.name, func(t *testing.T) {
			c, buf := memSession(t, memnet.Frames(size.n, 1)), make([]byte, size.n)
			n := testing.AllocsPerRun(200, func() {
				if _, p, err := c.ReadInto(context.Background(), buf); err != nil || len(p) != size.n {
					t.Fatalf("%d bytes, %v", len(p), err)
				}
			})
			if n > 0 {
				t.Errorf("%.0f allocations a message, want none", n)
			}
		})
		t.Run("Write "+size.name, func(t *testing.T) {
			c, p := memSession(t, nil), make([]byte, size.n)
			n := testing.AllocsPerRun(200, func() {
				if err := c.Write(context.Background(), wssecure.MessageBinary, p); err != nil {
					t.Fatal(err)
				}
			})
			if n > 0 {
				t.Errorf("%.0f allocations a message, want none", n)
			}
		})
	}
}

func TestIdleSessionHoldsOneGoroutine(t *testing.T) {
	const sessions = 100
	synctest.Test(t, func(t *testing.T) {
		g, token := memGuard(t, memnet.DeafLog{})
		handler := g.ConnHandler(func(ctx context.Context, c *wssecure.Conn) error {
			_, _, err := c.ReadInto(ctx, nil)
			return err
		})
		r, keys := memnet.Request(token), &memnet.Nonces{}
		before := bubbled()
		conns := make([]*memnet.SilentConn, sessions)
		for i := range conns {
			conns[i] = memnet.NewSilentConn()
			keys.Set(r)
			handler.ServeHTTP(memnet.NewWriter(conns[i]), r)
		}
		synctest.Wait() // all of them wait for their peer
		if n := bubbled() - before; n != sessions {
			t.Errorf("%d sessions hold %d goroutines, want one each", sessions, n)
		}
		for _, c := range conns {
			_ = c.Close()
		}
		synctest.Wait()
		if n := g.Stats().Open; n != 0 {
			t.Errorf("%d sessions are still open", n)
		}
	})
}

// bubbled is the number of goroutines in the bubble of synctest: what other tests
// have left behind, and what still ends of it, does not count.
func bubbled() int {
	stacks := make([]byte, 4<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	return bytes.Count(stacks, []byte(", synctest bubble "))
}

// C-15: the context that user code was given costs no message anything, nor does
// one that carries values of the application.
func TestUserCodesContextCostsNothing(t *testing.T) {
	type mine struct{}
	for name, of := range map[string]func(*wssecure.Conn) context.Context{
		"C-15 its own":     func(c *wssecure.Conn) context.Context { return c.Session().Context() },
		"C-15 with values": func(c *wssecure.Conn) context.Context { return context.WithValue(c.Session().Context(), mine{}, 1) },
	} {
		t.Run(name, func(t *testing.T) {
			reader, writer, buf := memSession(t, memnet.Frames(64, 1)), memSession(t, nil), make([]byte, 64)
			in, out := of(reader), of(writer)
			n := testing.AllocsPerRun(200, func() {
				if _, p, err := reader.ReadInto(in, buf); err != nil || len(p) != len(buf) {
					t.Fatalf("%d bytes, %v", len(p), err)
				}
				if err := writer.Write(out, wssecure.MessageBinary, buf); err != nil {
					t.Fatal(err)
				}
			})
			if n > 0 {
				t.Errorf("%.0f allocations, want none", n)
			}
		})
	}
}
