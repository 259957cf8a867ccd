package wssecure_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"regexp"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/internal/memnet"
)

var dottedKey = regexp.MustCompile(`^[a-z]+([._][a-z]+)*$`)

// recorder is a slog handler that keeps records.
type recorder struct {
	mu      sync.Mutex
	records []slog.Record
}

func (r *recorder) Enabled(context.Context, slog.Level) bool { return true }
func (r *recorder) WithAttrs([]slog.Attr) slog.Handler       { return r }
func (r *recorder) WithGroup(string) slog.Handler            { return r }
func (r *recorder) Handle(_ context.Context, rec slog.Record) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.records = append(r.records, rec.Clone())
	return nil
}

// of gives the records of one kind.
func (r *recorder) of(kind wssecure.EventKind) (found []slog.Record) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, rec := range r.records {
		if rec.Message == "wssecure: "+string(kind) {
			found = append(found, rec)
		}
	}
	return found
}

// only is the value of one attribute, and whether the record has it.
func only(rec slog.Record, key string) (value slog.Value, ok bool) {
	rec.Attrs(func(a slog.Attr) bool {
		if a.Key == key {
			value, ok = a.Value, true
		}
		return !ok
	})
	return value, ok
}

// U-05: constant texts, dotted keys, and a level that fits.
func TestLogRecords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rec := &recorder{}
		filter := wssecure.OnMessage(func(context.Context, *wssecure.Conn, wssecure.MessageType, []byte) ([]byte, error) {
			return nil, errors.New("not this one")
		})
		g := newTokenGate(t, stay, filter, wssecure.SetLogger(slog.New(rec)), wssecure.TrustNetworks("probes", "192.0.2.0/24"))
		evil, token := from("https://evil.example"), g.issuer.Token("alice")
		g.knock(attacker, evil)
		g.knock(attacker)
		g.knock(attacker, func(r *http.Request) { r.Method = "POST" })
		g.knock(attacker, bearer(token))
		g.knockThrough(g.serve, nil, memnet.Frames(3, 1), attacker, bearer(g.issuer.Token("bob")))
		banned(t, g, attacker)
		g.knock("10.0.0.1", func(r *http.Request) { r.Header["X-Forwarded-For"] = []string{"192.0.2.1"} })
		ctx := context.Background()
		if _, err := g.guard.Revoke(ctx, wssecure.Subject(g.issuer.URL, "alice"), "left"); err != nil {
			t.Fatal(err)
		}
		if err := g.guard.Unban(ctx, wssecure.Subject(g.issuer.URL, "alice")); err != nil {
			t.Fatal(err)
		}
		g.hangUp()
		g.settled(0)
		if err := g.guard.Shutdown(ctx); err != nil {
			t.Fatal(err)
		}
		g.until(func() bool { return len(rec.of(wssecure.EventClosed)) == 2 }, "no closed records")
		for kind, level := range map[wssecure.EventKind]slog.Level{
			wssecure.EventStarted: slog.LevelInfo, wssecure.EventInsecure: slog.LevelWarn, wssecure.EventOpened: slog.LevelInfo,
			wssecure.EventRevoked: slog.LevelInfo, wssecure.EventBanned: slog.LevelWarn, wssecure.EventUnbanned: slog.LevelInfo,
			wssecure.EventHint: slog.LevelWarn, wssecure.EventDraining: slog.LevelInfo, wssecure.EventMessageRefused: slog.LevelInfo,
		} {
			records := rec.of(kind)
			if len(records) == 0 {
				t.Errorf("no record of %s", kind)
			}
			for _, r := range records {
				if r.Level != level {
					t.Errorf("%s at %s, want %s", kind, r.Level, level)
				}
			}
		}
		levels := map[wssecure.Reason]slog.Level{
			wssecure.ReasonOrigin: slog.LevelWarn, wssecure.ReasonTokenMissing: slog.LevelInfo, wssecure.ReasonTokenForged: slog.LevelWarn,
			wssecure.ReasonMethod: slog.LevelDebug, wssecure.ReasonBanned: slog.LevelInfo, wssecure.ReasonRevoked: slog.LevelInfo, wssecure.ReasonMessageInvalid: slog.LevelInfo,
		}
		for _, r := range append(rec.of(wssecure.EventRefused), rec.of(wssecure.EventClosed)...) {
			v, _ := only(r, "reason")
			if want, ok := levels[wssecure.Reason(v.String())]; !ok || r.Level != want {
				t.Errorf("reason %s at %s, want %s", v, r.Level, want)
			}
		}
		for _, r := range rec.records {
			r.Attrs(func(a slog.Attr) bool {
				if !dottedKey.MatchString(a.Key) {
					t.Errorf("%s has the key %q", r.Message, a.Key)
				}
				return true
			})
		}
	})
}

// U-10: Insecure options and TrustNetworks are told at New, each with its reason;
// of refused messages the first, and their number with the session.
func TestWeakeningsAndRefusedMessages(t *testing.T) {
	filter := wssecure.OnSend(func(context.Context, *wssecure.Conn, wssecure.MessageType, []byte) ([]byte, error) {
		return nil, errors.New("not this one")
	})
	g := newGate(t, func(ctx context.Context, c *wssecure.Conn) error {
		for range 7 {
			if err := c.Write(ctx, wssecure.MessageText, []byte("hi")); err == nil {
				return errors.New("sent")
			}
		}
		return nil
	}, filter, wssecure.TrustNetworks("probes", "192.0.2.0/24"))
	g.await(wssecure.EventInsecure, 3)
	told := map[string]string{}
	for _, e := range g.seen(wssecure.EventInsecure) {
		told[e.Check] = e.Hint
	}
	want := map[string]string{"TrustNetworks": "probes", "InsecureAllowPlaintext": "no network", "InsecureAllowAnonymous": "limits are judged alone"}
	if fmt.Sprint(told) != fmt.Sprint(want) {
		t.Errorf("told %v, want %v", told, want)
	}
	g.knock(attacker)
	g.await(wssecure.EventClosed, 1)
	if n := len(g.seen(wssecure.EventMessageRefused)); n != 1 {
		t.Errorf("%d events of refused messages, want 1", n)
	}
	if e := g.seen(wssecure.EventClosed)[0]; e.Count != 6 || e.Reason != wssecure.ReasonDone || e.Out.Messages != 0 {
		t.Errorf("closed %s with %d more refused messages and %d sent, want 6 more", e.Reason, e.Count, e.Out.Messages)
	}
	if n := g.guard.Stats().MessagesRefused; n != 7 {
		t.Errorf("Stats has %d refused messages, want 7", n)
	}
}

// U-09: the log is a sample, the hooks and the counters are not.
func TestLogIsASample(t *testing.T) {
	noToken := func(g *gate, client string, n int) {
		for range n {
			g.knock(client)
		}
		synctest.Wait()
	}
	banRow(t, "U-09 five a minute of one reason and address, then every hundredth", func(t *testing.T) {
		rec := &recorder{}
		g := newTokenGate(t, stay, fastHandshakes, wssecure.SetLogger(slog.New(rec)))
		noToken(g, attacker, 1000)
		records := rec.of(wssecure.EventRefused)
		if len(records) != 5+9 {
			t.Fatalf("%d lines of 1000, want 14", len(records))
		}
		for i, r := range records {
			n, ok := only(r, "suppressed")
			if i < 5 && ok || i >= 5 && n.Int64() != 99 {
				t.Errorf("line %d has suppressed %v", i, n)
			}
		}
		for range 3 {
			g.knock(attacker, from("https://evil.example")) // another reason
		}
		noToken(g, "203.0.113.10", 3)
		if n := len(rec.of(wssecure.EventRefused)); n != 20 {
			t.Errorf("%d lines, want 20: others have their own five", n)
		}
		time.Sleep(time.Minute)
		noToken(g, attacker, 5)
		if n := len(rec.of(wssecure.EventRefused)); n != 25 {
			t.Errorf("%d lines after a minute, want 25", n)
		}
		if n := g.guard.Stats().EventsSampled; n != 1000-14 {
			t.Errorf("Stats has %d lines left out, want 986", n)
		}
		if n := len(g.seen(wssecure.EventRefused)); n != 1011 {
			t.Errorf("OnEvent saw %d, want 1011", n)
		}
	})
	banRow(t, "U-09 an IPv6 client is its /64: it does not take everybody's lines by an address each", func(t *testing.T) {
		rec := &recorder{}
		g := newTokenGate(t, stay, fastHandshakes, wssecure.SetLogger(slog.New(rec)))
		for i := range 1000 {
			noToken(g, fmt.Sprintf("2001:db8:0:1::%x", i+1), 1)
		}
		if n := len(rec.of(wssecure.EventRefused)); n != 5+9 {
			t.Errorf("%d lines of 1000, want 14", n)
		}
		noToken(g, "2001:db8:0:2::1", 1)
		if n := len(rec.of(wssecure.EventRefused)); n != 15 {
			t.Errorf("%d lines, want 15: another /64 has its own five", n)
		}
	})
	banRow(t, "U-09 200 lines a second in all, other kinds unsampled", func(t *testing.T) {
		rec := &recorder{}
		g := newTokenGate(t, stay, wssecure.SetLogger(slog.New(rec)))
		for i := range 1000 {
			noToken(g, fmt.Sprintf("198.51.%d.%d", i/250, i%250), 1)
		}
		if n := len(rec.of(wssecure.EventRefused)); n != 200 {
			t.Errorf("%d lines at once, want 200", n)
		}
		time.Sleep(time.Second)
		for i := range 1000 {
			noToken(g, fmt.Sprintf("198.51.%d.%d", i/250, i%250), 1)
		}
		if n := len(rec.of(wssecure.EventRefused)); n != 400 {
			t.Errorf("%d lines a second later, want 400", n)
		}
		for i := range 300 {
			wantAnswer(t, g.knock(attacker, bearer(g.issuer.Token(fmt.Sprint(i)))), 101, "")
		}
		g.hangUp()
		synctest.Wait()
		if opened, closed := len(rec.of(wssecure.EventOpened)), len(rec.of(wssecure.EventClosed)); opened != 300 || closed != 300 {
			t.Errorf("%d opened and %d closed lines, want 300 each", opened, closed)
		}
	})
}

// U-06: who listens slows nobody down.
func TestSlowAndBrokenHooks(t *testing.T) {
	banRow(t, "U-06 a hook that blocks", func(t *testing.T) {
		rec := &recorder{}
		var seen, lost atomic.Int64
		release := make(chan struct{})
		g := newTokenGate(t, stay, fastHandshakes, wssecure.SetLogger(slog.New(rec)), wssecure.OnEvent(func(e wssecure.Event) {
			<-release
			if e.Kind == wssecure.EventAuditDropped {
				lost.Add(e.Count)
				return
			}
			seen.Add(1)
		}))
		synctest.Wait()
		start := time.Now()
		for range 10_000 {
			wantAnswer(t, g.knock(attacker), 401, wssecure.ReasonTokenMissing)
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("handshakes waited %s for a hook", took)
		}
		before := int64(len(rec.of(wssecure.EventStarted)) + len(rec.of(wssecure.EventInsecure)))
		dropped := int64(g.guard.Stats().EventsDropped)
		if least := int64(10_000 - 8192); dropped < least || dropped > least+before { // those of New may be in the queue
			t.Errorf("%d events dropped of 10000, want all but 8192", dropped)
		}
		close(release)
		synctest.Wait()
		if lost.Load() != dropped || seen.Load()+dropped != 10_000+before {
			t.Errorf("the hook saw %d events and %d lost, want %d in all", seen.Load(), lost.Load(), 10_000+before)
		}
		records := rec.of(wssecure.EventAuditDropped)
		if len(records) == 0 || records[0].Level != slog.LevelError {
			t.Errorf("records of dropped events: %v, want some at Error", records)
		}
	})
	banRow(t, "U-06 a hook that panics is logged once a minute", func(t *testing.T) {
		rec := &recorder{}
		g := newTokenGate(t, stay, fastHandshakes, wssecure.SetLogger(slog.New(rec)), wssecure.OnEvent(func(wssecure.Event) { panic("hook") }))
		for range 3 {
			for range 100 {
				g.knock(attacker)
			}
			synctest.Wait()
			time.Sleep(61 * time.Second)
		}
		panics := 0
		for _, r := range rec.records {
			if r.Message == "wssecure: OnEvent panicked" {
				panics++
			}
		}
		if panics != 3 {
			t.Errorf("%d lines of panics in three minutes, want 3", panics)
		}
		if n := len(g.seen(wssecure.EventRefused)); n != 300 {
			t.Errorf("the hook beside saw %d events, want 300", n)
		}
	})
	t.Run("U-06 no goroutine while the queue is empty", func(t *testing.T) {
		before := runtime.NumGoroutine()
		g := newTokenGate(t, stay)
		g.knock(attacker)
		g.await(wssecure.EventRefused, 1)
		if n := goroutinesAtMost(before); n > before {
			t.Errorf("%d goroutines, %d before", n, before)
		}
	})
}
