package attack_test

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/wssecure/wssecure/internal/attack"
	"github.com/wssecure/wssecure/internal/probe"
)

// Whoever was put off before a hostile page came has lost nothing to it.
func TestABudgetThatIsGoneIsNotStolen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		target := served(t, func(w http.ResponseWriter, r *http.Request) {
			host, _, _ := net.SplitHostPort(r.RemoteAddr)
			switch {
			case r.Header.Get("Origin") != "https://app.example.com":
				w.WriteHeader(403)
			case strings.HasPrefix(host, "127.0.77."):
				w.Header().Set("Retry-After", "60")
				w.WriteHeader(429)
			default:
				admit(w, r)
			}
		})
		target.Active = true
		if v := try(t, prepared(t, target), "limit-stolen"); v.State != attack.Unclear || !strings.Contains(v.Detail, "too much already") {
			t.Errorf("%s: %+v", v.State, v)
		}
	})
}

// What uses up a limit finds one where it is put off behind it, and does not doubt that; a server that is gone is gone.
func TestWhatSpendsIsPutOff(t *testing.T) {
	for name, row := range map[string]struct {
		status int
		want   attack.State
	}{"429": {429, attack.Held}, "500": {500, attack.Broken}} {
		t.Run(name, inFakeTime(func(t *testing.T) {
			handshakes := make(chan struct{}, 50)
			target := served(t, func(w http.ResponseWriter, r *http.Request) {
				select {
				case handshakes <- struct{}{}:
					admit(w, r)
				default:
					w.WriteHeader(row.status)
				}
			})
			target.Active = true
			v := try(t, prepared(t, target), "limit-handshakes")
			if v.State != row.want {
				t.Errorf("%s, want %s: %+v", v.State, row.want, v)
			}
		}))
	}
}

// A limit that lets one through now and then, in whatever beat, has not been got around.
func TestABeatIsNoOtherAddress(t *testing.T) {
	for beat := int32(2); beat < 6; beat++ {
		t.Run(fmt.Sprint(beat), inFakeTime(func(t *testing.T) {
			var asked atomic.Int32
			target := served(t, func(w http.ResponseWriter, r *http.Request) {
				host, _, _ := net.SplitHostPort(r.RemoteAddr)
				if n := asked.Add(1); host == "127.0.77.4" && n > 100 && n%beat != 0 {
					w.WriteHeader(429)
					return
				}
				admit(w, r)
			})
			target.Active = true
			if v := try(t, prepared(t, target), "forwarded-address"); v.State != attack.Held {
				t.Errorf("%s: %+v", v.State, v)
			}
		}))
	}
}

// Sessions that are ended as others come are no crowd: there is a bound, or whoever is silent for too long makes room.
func TestAnEndedSessionTakesNoPlace(t *testing.T) {
	for name, row := range map[string]struct {
		places int
		want   attack.State
	}{"200 places": {200, attack.Unclear}, "no end": {1000, attack.Broken}} {
		t.Run(name, inFakeTime(func(t *testing.T) {
			places := make(chan net.Conn, row.places)
			target := served(t, func(w http.ResponseWriter, r *http.Request) {
				c, _, err := w.(http.Hijacker).Hijack()
				if err != nil {
					return
				}
				for placed := false; !placed; {
					select {
					case places <- c:
						placed = true
					default:
						(<-places).Close()
					}
				}
				fmt.Fprintf(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n", probe.Accept(r.Header.Get("Sec-WebSocket-Key")))
			})
			t.Cleanup(func() {
				for len(places) > 0 {
					(<-places).Close()
				}
			})
			target.Active = true
			if v := try(t, prepared(t, target), "limit-sessions"); v.State != row.want {
				t.Errorf("%s, want %s: %+v", v.State, row.want, v)
			}
		}))
	}
}
