package attack_test

import (
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wssecure/wssecure/internal/attack"
)

// Whoever bans the address that floods it, or has had enough of it, has survived; and has shown nothing else.
func TestABanIsNoFall(t *testing.T) {
	for _, row := range []struct {
		name   string
		refuse http.HandlerFunc
		want   attack.State
	}{
		{"429", status(429), attack.Unclear},
		{"403", status(403), attack.Unclear},
		{"404", status(404), attack.Unclear},
		{"503", status(503), attack.Broken},
	} {
		t.Run(row.name, inFakeTime(func(t *testing.T) {
			var banned atomic.Bool
			target := served(t, func(w http.ResponseWriter, r *http.Request) {
				if banned.Load() {
					row.refuse(w, r)
					return
				}
				banned.Store(len(r.Header) > 1000)
				admit(w, r)
			})
			target.Active = true
			prepared(t, target)
			v := try(t, target, "header-flood")
			if banned := strings.Contains(v.Detail, "may be banned"); v.State != row.want || banned != (row.want == attack.Unclear) {
				t.Errorf("%s, want %s: %+v", v.State, row.want, v)
			}
		}))
	}
}

// A listener that bans says nothing: the connection ends, for one address. From another one it can be told from a server
// that has fallen; where there is no other, nobody is blamed.
func TestABanBelowHTTPIsNoFall(t *testing.T) {
	for _, row := range []struct {
		name, addr string
		everybody  bool // gets no answer
		hangs      bool
		want       attack.State
		detail     string
	}{
		{"banned", "127.0.0.1", false, false, attack.Unclear, "this address alone gets no answer"},
		{"fallen", "127.0.0.1", true, false, attack.Broken, "did not survive"},
		{"banned, with one address", "localhost", false, false, attack.Unclear, "or the server may have ended"},
		{"fallen, with one address", "localhost", true, false, attack.Unclear, "or the server may have ended"},
		{"hung, with one address", "localhost", true, true, attack.Broken, "did not survive"},
	} {
		t.Run(row.name, inFakeTime(func(t *testing.T) {
			var banned atomic.Bool
			done := make(chan struct{})
			target := served(t, func(w http.ResponseWriter, r *http.Request) {
				host, _, _ := net.SplitHostPort(r.RemoteAddr)
				switch {
				case !banned.Load() || !row.everybody && host == "127.0.78.1":
					if len(r.Header) > 1000 {
						banned.Store(true)
					}
					admit(w, r)
				case row.hangs:
					<-done
				default:
					panic(http.ErrAbortHandler)
				}
			})
			t.Cleanup(func() { close(done) })
			target.Addr = net.JoinHostPort(row.addr, "80")
			target.Active, target.Timeout = true, time.Second
			prepared(t, target)
			if v := try(t, target, "header-flood"); v.State != row.want || !strings.Contains(v.Detail, row.detail) {
				t.Fatalf("%s, want %s: %+v", v.State, row.want, v)
			}
			began := time.Now()
			for _, id := range []string{"frame-unmasked", "origin-foreign"} {
				if v := try(t, target, id); v.State != attack.Unclear || !strings.Contains(v.Detail, "since header-flood") {
					t.Errorf("behind it, %s: %+v", id, v)
				}
			}
			if took := time.Since(began); took > 3*time.Second {
				t.Errorf("what comes behind it took %v", took)
			}
			if banned.Store(false); row.want == attack.Unclear {
				if v := try(t, target, "origin-foreign"); v.State != attack.Broken {
					t.Errorf("when the ban is over: %+v", v)
				}
			}
		}))
	}
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

// felledByHeaders is a target that a flood of headers stops, until dead is false again.
func felledByHeaders(t *testing.T) (target *attack.Target, dead *atomic.Bool) {
	t.Helper()
	dead = new(atomic.Bool)
	target = served(t, func(w http.ResponseWriter, r *http.Request) {
		if dead.Load() {
			panic(http.ErrAbortHandler)
		}
		dead.Store(len(r.Header) > 1000)
		admit(w, r)
	})
	target.Active = true
	return prepared(t, target), dead
}

// What is tried on a server that is down already is not what has stopped it.
func TestAFallIsNotBlamedOnWhatComesLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		target, dead := felledByHeaders(t)
		if v := try(t, target, "header-flood"); v.State != attack.Broken {
			t.Fatalf("the cause: %+v", v)
		}
		for _, id := range []string{"frame-unmasked", "limit-handshakes", "origin-foreign"} {
			v := try(t, target, id)
			if v.State != attack.Unclear || !strings.Contains(v.Detail, "since header-flood") {
				t.Errorf("%s: %+v", id, v)
			}
		}
		dead.Store(false)
		if v := try(t, prepared(t, target), "frame-unmasked"); strings.Contains(v.Detail, "since") {
			t.Errorf("a server that is back: %+v", v)
		}
	})
}

// Nor what began while the first was still waiting for the server to come back, not even when it is the first to hear of it.
func TestAFallIsNotBlamedOnWhatBeginsMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var dead atomic.Bool
		var misses atomic.Int32
		first, later := make(chan struct{}), make(chan struct{})
		target := served(t, func(w http.ResponseWriter, r *http.Request) {
			if !dead.Load() {
				dead.Store(len(r.Header) > 1000)
				admit(w, r)
				return
			}
			switch misses.Add(1) {
			case 1: // of the cause; it hears of it when the other has asked twice
				close(first)
				<-later
			case 4:
				close(later)
			}
			panic(http.ErrAbortHandler)
		})
		target.Active = true
		prepared(t, target)
		cause := make(chan attack.Verdict)
		go func() { cause <- try(t, target, "header-flood") }()
		<-first
		time.Sleep(time.Millisecond)
		if v := try(t, target, "frame-unmasked"); v.State != attack.Unclear || !strings.Contains(v.Detail, "since header-flood") {
			t.Errorf("%+v", v)
		}
		if v := <-cause; v.State != attack.Broken {
			t.Errorf("the cause: %+v", v)
		}
	})
}

// With several under way nobody can say which it was: each of those is named, and none that began when it was over.
func TestAFallUnderSeveral(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		target, _ := felledByHeaders(t)
		var blamed []string
		attack.Run(t.Context(), target, attack.All(), func(r attack.Result) {
			if strings.Contains(r.Verdict.Detail, "did not survive") {
				blamed = append(blamed, r.Attack.ID)
			}
		})
		if !slices.Contains(blamed, "header-flood") || len(blamed) > 8 {
			t.Errorf("blamed: %q", blamed)
		}
	})
}
