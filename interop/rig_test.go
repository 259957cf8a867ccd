package interop_test

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/internal/probe"
	"github.com/wssecure/wssecure/internal/program"
	"github.com/wssecure/wssecure/wssecuretest"
)

// TestMain keeps log lines out of the tests' output, and says what it leaves out.
func TestMain(m *testing.M) {
	if !program.Announce("The tests with npm's ws", "WSS_REQUIRE_NODE", missingNode) {
		os.Exit(1)
	}
	flag.Parse()
	if flag.Lookup("test.parallel").Value.String() == fmt.Sprint(runtime.GOMAXPROCS(0)) {
		flag.Set("test.parallel", "12") // most of these tests wait for a deadline to pass
	}
	slog.SetDefault(slog.New(slog.NewTextHandler(io.Discard, nil)))
	gin.SetMode(gin.ReleaseMode)
	os.Exit(m.Run())
}

// A rig is a server whose guard lets every subject hold one socket: a lease that
// is not given back shows at the subject's next handshake.
type rig struct {
	*wssecuretest.Server
	issuer *wssecuretest.Issuer
}

const user = "alice"

// hang bounds every wait: only what hangs meets it, not what a busy machine makes late.
const hang = time.Minute

func startRig(t testing.TB, handler func(g *wssecure.Guard) http.Handler, more ...wssecure.Option) *rig {
	t.Helper()
	r := newRig(t)
	r.start(t, handler, more...)
	return r
}

// newRig is one that has not started: its issuer is there for what needs it.
func newRig(t testing.TB) *rig { return &rig{issuer: wssecuretest.NewIssuer(t, "")} }

func (r *rig) start(t testing.TB, handler func(g *wssecure.Guard) http.Handler, more ...wssecure.Option) {
	t.Helper()
	t.Cleanup(func() { r.wantEachClosedOnce(t) }) // runs after the server's own shutdown
	opts := []wssecure.Option{
		wssecure.AllowOrigins(wssecuretest.Origin),
		r.issuer.Option(wssecure.FromBearer(), wssecure.FromSubprotocol()),
		wssecure.LimitConns(wssecure.BySubject(), 1),
		wssecure.LimitSession(wssecure.Limits{MessageSize: 2 << 20}),
	}
	r.Server = wssecuretest.Start(t, wssecuretest.Config{Options: append(opts, more...), Handler: handler})
}

// startWith starts r with a guard of these options instead of the rig's own.
func (r *rig) startWith(t testing.TB, own []wssecure.Option, handler func(g *wssecure.Guard) http.Handler) {
	t.Helper()
	r.start(t, func(g *wssecure.Guard) http.Handler {
		child, err := g.With(own...)
		if err != nil {
			t.Fatal(err)
		}
		return handler(child)
	})
}

// behind starts a rig with st behind Guard.Handler.
func behind(t testing.TB, st stack, a *app, more ...wssecure.Option) *rig {
	t.Helper()
	next := st.behind(t, a)
	return startRig(t, func(g *wssecure.Guard) http.Handler { return g.Handler(next) }, more...)
}

// handshake is a good one, with a key that no other has.
func (r *rig) handshake(subject string) *probe.Handshake {
	return r.Handshake(r.issuer.Token(subject)).Set("Sec-WebSocket-Key", freshKey())
}

// ask sends raw bytes over a connection of its own and reads one answer.
func (r *rig) ask(t testing.TB, request []byte) (*probe.Response, *probe.Conn) {
	t.Helper()
	c := r.Raw()
	if err := c.Send(request); err != nil {
		t.Fatalf("send: %v", err)
	}
	answer, err := c.Response()
	if err != nil {
		t.Fatalf("no answer: %v", err)
	}
	return answer, c
}

// open opens user's session.
func (r *rig) open(t testing.TB) *probe.Conn {
	t.Helper()
	return r.openAs(t, user)
}

func (r *rig) openAs(t testing.TB, subject string) *probe.Conn {
	t.Helper()
	answer, c := r.ask(t, r.handshake(subject).Bytes())
	if answer.Status != 101 {
		t.Fatalf("status %d, want 101: %s", answer.Status, answer.Body)
	}
	return c
}

// wantAllBack says that nothing is held any more: a new session can be opened,
// works, and is closed again. Call it behind the event that ended the last one.
func (r *rig) wantAllBack(t testing.TB) {
	t.Helper()
	if n := r.Guard.Stats().Open; n != 0 {
		t.Errorf("%d places are still taken", n)
	}
	for range r.Guard.Sessions() {
		t.Error("a session is still registered")
	}
	answer, c := r.ask(t, r.handshake(user).Bytes())
	if answer.Status != 101 {
		t.Fatalf("the next handshake: status %d, want 101: %s", answer.Status, answer.Body)
	}
	c.Close()
}

// wantEachClosedOnce reads the whole record: one opened and one closed event for
// each session.
func (r *rig) wantEachClosedOnce(t testing.TB) {
	t.Helper()
	if r.Server == nil {
		return
	}
	for r.count(wssecure.EventClosed) < max(r.count(wssecure.EventOpened), int(r.Guard.Stats().Admitted)) {
		r.WaitEvent(wssecure.EventClosed) // fails the test when none comes
	}
	opened, closed := map[string]int{}, map[string]int{}
	for _, e := range r.Events() { // in their order: none is opened behind its end
		switch e.Kind {
		case wssecure.EventOpened:
			opened[e.SessionID]++
		case wssecure.EventClosed:
			closed[e.SessionID]++
		}
	}
	for id, n := range opened {
		if n != 1 || closed[id] != 1 {
			t.Errorf("session %s: %d opened and %d closed events, want one of each", id, n, closed[id])
		}
	}
	for id := range closed {
		if opened[id] == 0 {
			t.Errorf("session %s was closed and never opened", id)
		}
	}
}

func (r *rig) count(kind wssecure.EventKind) (n int) {
	for _, e := range r.Events() {
		if e.Kind == kind {
			n++
		}
	}
	return n
}

func freshKey() string {
	var nonce [16]byte
	rand.Read(nonce[:])
	return base64.StdEncoding.EncodeToString(nonce[:])
}

// sendText sends one whole message.
func sendText(t testing.TB, c *probe.Conn, text string) {
	t.Helper()
	if err := c.SendFrame(probe.Message(probe.Text, []byte(text))); err != nil {
		t.Fatalf("send %q: %v", text, err)
	}
}

// wantMessage reads one whole message, in as many frames as it comes.
func wantMessage(t testing.TB, c *probe.Conn, op byte, want []byte) {
	t.Helper()
	var got []byte
	var opcode byte
	for {
		f, err := c.ReadFrame()
		if err != nil {
			t.Fatalf("instead of a message of %d bytes: %v", len(want), err)
		}
		if f.Masked {
			t.Fatal("the server masked a frame")
		}
		switch f.Opcode {
		case probe.Ping, probe.Pong:
			continue
		case probe.Close:
			t.Fatalf("instead of a message of %d bytes: close frame %q", len(want), f.Payload)
		case probe.Text, probe.Binary:
			opcode = f.Opcode
		}
		got = append(got, f.Payload...)
		if f.FIN {
			break
		}
	}
	if opcode != op || !bytes.Equal(got, want) {
		t.Fatalf("opcode %d, %d bytes %.40q; want %d, %d bytes %.40q", opcode, len(got), got, op, len(want), want)
	}
}

// wantEcho says that the socket works both ways.
func wantEcho(t testing.TB, c *probe.Conn, text string) {
	t.Helper()
	sendText(t, c, text)
	wantMessage(t, c, probe.Text, []byte(text))
}

// wantClose reads up to the close frame, and then the end of the connection.
func wantClose(t testing.TB, c *probe.Conn, code int, reason string) {
	t.Helper()
	got, text, err := c.AwaitClose()
	if err != nil {
		t.Fatalf("instead of a close frame %d: %v", code, err)
	}
	if got != code || text != reason {
		t.Errorf("close frame %d %q, want %d %q", got, text, code, reason)
	}
	_ = c.Send(probe.CloseFrame(code, "")) // may meet a connection that is cut
	if err := c.AwaitEOF(hang); err != nil {
		t.Errorf("behind the close frame: %v", err)
	}
}

// wantClosedEvent waits for the end of a session and compares what is not zero.
func (r *rig) wantClosedEvent(t testing.TB, reason wssecure.Reason, code wssecure.StatusCode, by wssecure.By) wssecure.Event {
	t.Helper()
	e := r.WaitEvent(wssecure.EventClosed)
	if e.Reason != reason || e.CloseCode != code || e.By != by {
		t.Errorf("closed: %s, code %d, by %s; want %s, %d, %s (error %v)", e.Reason, e.CloseCode, e.By, reason, code, by, e.Err)
	}
	return e
}
