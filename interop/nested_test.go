package interop_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/internal/logbook"
	"github.com/wssecure/wssecure/wssecuretest"
)

func TestNestedGuards(t *testing.T) {
	for _, row := range []struct {
		name  string
		inner func(t testing.TB, outer *wssecure.Guard, r *rig) *wssecure.Guard
	}{
		{"K-22 another guard", func(t testing.TB, _ *wssecure.Guard, r *rig) *wssecure.Guard {
			g, err := wssecure.New(wssecure.AllowOrigins(wssecuretest.Origin), wssecure.InsecureAllowAnonymous("test"))
			if err != nil {
				t.Fatal(err)
			}
			return g
		}},
		{"K-22 With of the same", func(t testing.TB, outer *wssecure.Guard, r *rig) *wssecure.Guard {
			g, err := outer.With(wssecure.RequireOrigin())
			if err != nil {
				t.Fatal(err)
			}
			return g
		}},
		{"K-22 itself", func(_ testing.TB, outer *wssecure.Guard, _ *rig) *wssecure.Guard { return outer }},
	} {
		for _, kind := range []string{"Handler", "ConnHandler", "ConnHandler behind a wrapper", "Handler with a fresh request"} {
			t.Run(row.name+"/"+kind, func(t *testing.T) {
				t.Parallel()
				a := newApp()
				lib := libraries[1].handler(a)
				var records logbook.Book
				var inner *wssecure.Guard
				r := startRig(t, func(g *wssecure.Guard) http.Handler {
					inner = row.inner(t, g, nil)
					var in http.Handler
					switch kind {
					case "Handler":
						in = inner.Handler(lib)
					case "ConnHandler":
						in = inner.ConnHandler(wssecuretest.Echo)
					case "ConnHandler behind a wrapper":
						in = logged(inner.ConnHandler(wssecuretest.Echo))
					default: // one that has lost the session's context
						guarded := inner.Handler(lib)
						in = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
							guarded.ServeHTTP(w, r.WithContext(context.Background()))
						})
					}
					mux := http.NewServeMux()
					mux.Handle("/nested", g.Handler(in))
					mux.Handle("/ws", g.Handler(lib))
					return mux
				}, wssecure.SetLogger(records.Logger()))
				h := r.handshake(user)
				h.Target = "/nested"
				answer, c := r.ask(t, h.Bytes())
				if answer.Status != 500 {
					t.Fatalf("%s, want 500", answer.StatusLine)
				}
				if err := c.AwaitEOF(hang); err != nil {
					t.Error(err)
				}
				if len(a.saw) > 0 {
					t.Error("the handler was called")
				}
				if n := inner.Stats().Open; n != 0 {
					t.Errorf("the inner guard has %d places taken", n)
				}
				r.WaitEvent(wssecure.EventRefused)
				if inner == r.Guard || row.name == "K-22 With of the same" {
					r.WaitEvent(wssecure.EventRefused) // the outer one's; both report here
					if text := records.String(); !strings.Contains(text, "guards are nested") || !strings.Contains(text, "level=ERROR") {
						t.Errorf("the log does not say that guards are nested:\n%s", text)
					}
				}
				r.wantAllBack(t)
			})
		}
	}
}
