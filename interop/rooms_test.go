package interop_test

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"testing"

	"github.com/go-chi/chi/v5"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/internal/probe"
)

const rooms = 200

// TestRoomsOfChi: chi takes its route contexts from a pool, so what belongs to
// one request is another's a moment later. Each session answers with the room
// that it believes to be in, while ordinary requests churn the pool.
func TestRoomsOfChi(t *testing.T) {
	where := func(s *wssecure.Session) string {
		q := s.Request()
		return fmt.Sprintf("%s %s %s %s?%s", q.Method, q.Host, q.PathValue("id"), q.URL.Path, q.URL.RawQuery)
	}
	r := startRig(t, func(g *wssecure.Guard) http.Handler {
		router := chi.NewRouter()
		router.Handle("/rooms/{id}", g.ConnHandler(func(ctx context.Context, c *wssecure.Conn) error {
			if chi.RouteContext(ctx) != nil {
				t.Error("K-26: the router's context reached user code")
			}
			for {
				typ, _, err := c.Read(ctx)
				if err != nil {
					return err
				}
				if err := c.Write(ctx, typ, []byte(where(c.Session()))); err != nil {
					return err
				}
			}
		}))
		router.HandleFunc("/pages/{id}/{name}", func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, chi.URLParam(r, "id"), r.PathValue("name"))
		})
		return router
	})
	conns := make([]*probe.Conn, rooms)
	var wg sync.WaitGroup
	for i := range rooms {
		wg.Go(func() {
			h := r.handshake(fmt.Sprintf("user-%d", i))
			h.Target = fmt.Sprintf("/rooms/%d?n=%d", i, i)
			c := r.Raw()
			if err := c.Send(h.Bytes()); err != nil {
				t.Error(err)
				return
			}
			answer, err := c.Response()
			if err != nil || answer.Status != 101 {
				t.Errorf("room %d: %+v, %v", i, answer, err)
				return
			}
			conns[i] = c
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	churned := make(chan struct{})
	var churn sync.WaitGroup
	for n := range 2 {
		churn.Go(func() {
			c := r.Raw()
			for i := 0; ; i++ {
				select {
				case <-churned:
					return
				default:
				}
				request := fmt.Sprintf("GET /pages/%d-%d/x HTTP/1.1\r\nHost: ws.example.com\r\n\r\n", n, i)
				if err := c.Send([]byte(request)); err != nil {
					t.Error(err)
					return
				}
				answer, err := c.Response()
				if err != nil || string(answer.Body) != fmt.Sprintf("%d-%dx", n, i) {
					t.Errorf("page %d: %+v, %v", i, answer, err)
					return
				}
			}
		})
	}
	for range 3 {
		for i, c := range conns {
			wg.Go(func() {
				want := fmt.Sprintf("GET ws.example.com %d /rooms/%d?n=%d", i, i, i)
				if err := c.SendFrame(probe.Message(probe.Text, []byte("where?"))); err != nil {
					t.Error(err)
					return
				}
				for {
					f, err := c.ReadFrame()
					if err != nil {
						t.Errorf("room %d: %v", i, err)
						return
					}
					if f.Opcode == probe.Text {
						if string(f.Payload) != want {
							t.Errorf("room %d: %q, want %q", i, f.Payload, want)
						}
						return
					}
				}
			})
		}
		wg.Wait()
	}
	close(churned)
	churn.Wait()
}
