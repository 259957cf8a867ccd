package attack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"syscall"
	"time"

	"github.com/wssecure/wssecure/internal/probe"
	"github.com/wssecure/wssecure/internal/quote"
)

// An answer is what came back for one handshake.
type answer struct {
	response *probe.Response // nil with err
	err      error
	took     time.Duration
	after    ending // of ask: what came behind a 101 at once
}

// status is 0 when no answer came.
func (a answer) status() int {
	if a.response == nil {
		return 0
	}
	return a.response.Status
}

// closed reports that the server ended the connection instead of answering: a refusal too.
func (a answer) closed() bool {
	return a.alerted() || errors.Is(a.err, io.EOF) || errors.Is(a.err, io.ErrUnexpectedEOF) || errors.Is(a.err, syscall.ECONNRESET) || errors.Is(a.err, syscall.EPIPE)
}

// alerted reports that the server ended the connection by an alert of TLS.
func (a answer) alerted() bool {
	var op *net.OpError
	return errors.As(a.err, &op) && op.Op == "remote error"
}

func (a answer) timedOut() bool {
	var ne net.Error
	return errors.Is(a.err, os.ErrDeadlineExceeded) || errors.As(a.err, &ne) && ne.Timeout()
}

// busy reports a refusal that says nothing of the handshake: the server had enough of us, or of everybody.
func (a answer) busy() bool { return a.status() == 429 || a.status() == 503 || a.after.code == 1013 }

// retryAfter is how long a busy server asks for.
func (a answer) retryAfter() time.Duration {
	if a.response == nil {
		return 0
	}
	n, err := strconv.Atoi(a.response.Get("Retry-After"))
	if err != nil || n < 1 {
		return time.Second
	}
	return time.Duration(min(n, 3600)) * time.Second
}

// putOff reports that nothing more will be had for a while: the server wants to be left alone, or the pace is used up.
func (a answer) putOff() bool {
	if a.response == nil {
		return errors.Is(a.err, errSpent)
	}
	return a.response.Get("Retry-After") != "" && a.retryAfter() > 2*time.Second
}

// declined reports a refusal of the client, by a server that is well.
func (a answer) declined() bool { return a.status()/100 == 4 || a.status() == 101 && !a.admitted() }

// ask sends a handshake over a connection of its own, and cuts it when the answer is there.
func (t *Target) ask(ctx context.Context, h *probe.Handshake) answer {
	l, a := t.open(ctx, h)
	if l != nil {
		a = l.farewell(a)
		l.Close()
	}
	if a.after.refuses() {
		t.takesBack.Store(true)
	}
	return a
}

// open is ask that leaves the connection open when there is one.
func (t *Target) open(ctx context.Context, h *probe.Handshake) (*link, answer) {
	return t.openFrom(ctx, t.LocalAddr, h)
}

func (t *Target) openFrom(ctx context.Context, local string, h *probe.Handshake) (*link, answer) {
	l, err := t.dialFrom(ctx, local)
	if err != nil {
		return nil, answer{err: err}
	}
	return l.handshake(h)
}

// handshake sends h. The link is closed, and nil, when no answer comes.
func (l *link) handshake(h *probe.Handshake) (*link, answer) {
	began := time.Now()
	sent := l.Send(h.Bytes())
	r, err := l.Answer() // also when not all could be sent: a server may refuse before it has read everything
	if r != nil {        // a fault in its body is none of the answer
		return l, answer{response: r, took: time.Since(began)}
	}
	l.Close()
	if sent != nil && !(answer{err: err}).closed() {
		err = sent
	}
	return nil, answer{err: err, took: time.Since(began)}
}

// longestGot bounds what a verdict shows of an answer.
const longestGot = 300

// got is an answer in one line.
func (t *Target) got(a answer) string {
	switch {
	case a.response != nil:
		text := a.response.StatusLine
		if len(a.response.Body) > 0 {
			text += " | " + string(a.response.Body)
		}
		if a.after.over() {
			text += " | and then " + a.after.plain()
		}
		return quote.Cut(t.redact(text), longestGot)
	case a.alerted():
		return quote.Cut("refused in TLS: "+a.err.Error(), longestGot)
	case a.closed():
		return "the connection was closed without an answer"
	case a.timedOut():
		return fmt.Sprintf("no answer within %v", a.took.Round(time.Second))
	}
	return quote.Cut(t.redact(fmt.Sprint(a.err)), longestGot)
}

// mustRefuse sends a handshake that no server should admit.
func (t *Target) mustRefuse(ctx context.Context, sent string, h *probe.Handshake) Verdict {
	return t.refusal(sent, t.askTwice(ctx, h))
}

// askTwice asks again when the server was busy, and soon is no longer.
func (t *Target) askTwice(ctx context.Context, h *probe.Handshake) answer {
	a := t.ask(ctx, h)
	if !a.busy() || a.retryAfter() > 2*time.Second || sleep(ctx, a.retryAfter()) != nil {
		return a
	}
	return t.ask(ctx, h.Clone().Set("Sec-WebSocket-Key", newKey()))
}

// refusal judges the answer to what should have been refused.
func (t *Target) refusal(sent string, a answer) Verdict {
	v := Verdict{Sent: quote.Cut(t.redact(sent), longestGot), Got: t.got(a)}
	switch {
	case a.admitted() && !(a.after.cut && t.honest.admitted() && !t.honest.after.cut):
		v.State = Broken
	case a.closed():
		v.State = Held
	case a.response == nil:
		v.State, v.Detail = Unclear, "no answer"
	case a.busy() && !t.honest.busy():
		v.State, v.Detail = Unclear, "the server was busy: it may have refused for that alone"
	case !t.honest.admitted() && a.like(t.honest):
		v.State, v.Detail = Unclear, "the honest handshake is refused in the same way: give a token, or an Origin that is admitted"
	default:
		v.State = Held
	}
	return v
}

func broken(sent, got, format string, args ...any) Verdict {
	return Verdict{State: Broken, Sent: sent, Got: got, Detail: fmt.Sprintf(format, args...)}
}

func held(sent, got string) Verdict { return Verdict{State: Held, Sent: sent, Got: got} }

func left(format string, args ...any) Verdict {
	return Verdict{State: Left, Detail: fmt.Sprintf(format, args...)}
}

func unclear(sent, got, format string, args ...any) Verdict {
	return Verdict{State: Unclear, Sent: sent, Got: got, Detail: fmt.Sprintf(format, args...)}
}
