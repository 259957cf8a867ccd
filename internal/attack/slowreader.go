package attack

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/wssecure/wssecure/internal/probe"
)

// This file is a peer that asks for much and reads nothing.

func slowReaderAttack() Attack {
	return Attack{
		ID: "slow-reader", Title: "a peer that sends messages and never reads the answers", Refs: []string{"ATTACKS D8", "CWE-400"}, Needs: NeedSession,
		Why: "each such peer keeps what it was sent in the server's memory, and whoever writes to it waits for ever",
		Fix: "bound the time of a write and what may be queued for a peer, and end the session beyond", Option: "the default; Limits.Write",
		Run: slowReader,
	}
}

const (
	unreadMessage = 16 << 10 // within the bounds of every library
	// mostUnread is more than the kernels on both sides keep: what is taken beyond is kept by the server, or dropped.
	mostUnread = 24 << 20
)

func slowReader(ctx context.Context, t *Target) Verdict {
	d, given := t.patience()
	if !given {
		return left("a write may wait long: --patience, or Patience, says what the server allows")
	}
	l, v, ok := t.session(ctx)
	if !ok {
		return v
	}
	defer l.Close()
	if !l.answersMessages(t.within(min(worked, t.step()))) {
		return left("it sends nothing back, so that there is nothing to leave unread")
	}
	l.Timeout = d
	ended := make(chan unread, 1)
	go func() { ended <- l.neverRead() }()
	for {
		select {
		case u := <-ended:
			return l.afterwards(u, d)
		case <-ctx.Done():
			return unclear("", "", "there was no time to end it")
		case <-time.After(d / 2):
			if t.company.bad {
				continue // the neighbour would end it
			}
			if v, ok := t.neighbourServed(ctx); !ok {
				return v
			}
		}
	}
}

// neighbourServed asks whether another session is, while the answers of this one wait.
func (t *Target) neighbourServed(ctx context.Context) (Verdict, bool) {
	l, v, ok := t.session(ctx)
	if !ok {
		return v, false
	}
	defer l.Close()
	if l.answersMessages(t.within(worked)) {
		return Verdict{}, true
	}
	return broken("messages whose answers nobody reads", "another session got no answer", "one peer that does not read holds up the others"), false
}

// answersMessages reports whether a message is answered by one.
func (l *link) answersMessages(within time.Duration) bool {
	if l.SendFrame(probe.Message(probe.Text, []byte("a"))) != nil {
		return false
	}
	for end := time.Now().Add(within); ; {
		f, err := l.SkimFrame(end)
		if err != nil || f.Opcode == probe.Close {
			return false
		}
		if f.Opcode == probe.Text || f.Opcode == probe.Binary {
			return true
		}
	}
}

// unread is what became of messages whose answers nobody reads.
type unread struct {
	messages int
	err      error // of the one that was not taken; nil when all were
}

func (l *link) neverRead() unread {
	message := probe.AppendFrame(nil, probe.Message(probe.Text, bytes.Repeat([]byte("a"), unreadMessage)))
	for n := range mostUnread / unreadMessage {
		if err := l.Send(message); err != nil {
			return unread{n, err}
		}
	}
	return unread{messages: mostUnread / unreadMessage}
}

// afterwards reads what is still there: a session that was ended has an end, behind what the kernels have kept.
func (l *link) afterwards(u unread, d time.Duration) Verdict {
	sent := fmt.Sprintf("%d messages of 16 KiB, and no answer was read", u.messages)
	if u.err != nil && !(answer{err: u.err}).timedOut() {
		return held(sent, "the connection was cut")
	}
	kept, over := l.drain()
	got := fmt.Sprintf("the session is open, %d KiB came later", kept>>10)
	switch {
	case over:
		return held(sent, "the connection was ended")
	case u.err == nil && kept > mostUnread/2:
		return broken(sent, got, "the server keeps without a bound what a peer does not read")
	case u.err == nil:
		return held(sent, got+": the rest was dropped, or never was")
	case kept < leastUnread:
		return unclear(sent, got, "the server reads slowly, and answers too little to be left unread")
	}
	return broken(sent, got, "after %v in which nothing was read it was not ended", d)
}

// leastUnread is what comes at once where a write has waited: less has found room in the kernels.
const leastUnread = 64 << 10

// drain counts the bytes of messages until the session ends, or nothing comes any more; a server may send for ever.
func (l *link) drain() (kept int, over bool) {
	for last := time.Now().Add(3 * worked); time.Now().Before(last); {
		f, err := l.SkimFrame(time.Now().Add(worked))
		switch {
		case (answer{err: err}).timedOut(), err != nil && f.Length != nil:
			return kept, false
		case err != nil || f.Opcode == probe.Close:
			return kept, true
		case f.Opcode == probe.Text || f.Opcode == probe.Binary || f.Opcode == probe.Continuation:
			kept += int(*f.Length)
		}
	}
	return kept, false
}
