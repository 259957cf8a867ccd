package wssecure_test

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/internal/probe"
	"github.com/wssecure/wssecure/store"
	"github.com/wssecure/wssecure/store/storetest"
)

// T4: a node that was paused beyond the life of its leases wakes with messages in its sockets, and another one may have
// given its places away. A read comes first there, before any timer. Here the node's timer looks a quarter of a second late:
// a beat that failed twice has shifted its beats against it by a tenth.
func TestT4WhoWakesFromAPauseHandsOnNothing(t *testing.T) {
	inFleet(t, 0, func(s *fleet) {
		began := time.Now()
		at := func(d time.Duration) { time.Sleep(time.Until(began.Add(d))) }
		one := wssecure.LimitConns(wssecure.BySubject(), 1)
		paused := s.add([]store.NodeOption{store.OnError(store.RuleCap, store.Close)}, one)
		other := s.add(nil, one)
		token := s.issuer.Token("alice")

		at(2500 * time.Millisecond)
		c := paused.open(token)
		echo := func(message string) probe.Frame {
			t.Helper()
			if err := c.SendFrame(text(message)); err != nil {
				t.Fatal(err)
			}
			f, err := c.ReadFrame()
			if err != nil {
				t.Fatal(err)
			}
			return f
		}
		paused.link.Set(storetest.Fault{
			Only:  func(o store.Op) bool { _, is := o.(*store.Beat); return is },
			Times: 2, Delay: 550 * time.Millisecond, Err: errors.New("a test"),
		})
		at(6500 * time.Millisecond)
		if _, r, _ := other.knock(token); r.Status != http.StatusTooManyRequests {
			t.Errorf("the place is taken, and the other node says %d", r.Status)
		}
		paused.cut() // its last beat was sent at 6.1 s, and holds for 5 s; it stops a second before

		at(10050 * time.Millisecond)
		if f := echo("in time"); f.Opcode != probe.Text {
			t.Errorf("opcode %d for what came in time", f.Opcode)
		}
		at(10150 * time.Millisecond)
		if f := echo("too late"); f.Opcode != probe.Close {
			t.Errorf("opcode %d, %q for what came too late", f.Opcode, f.Payload)
		}
		if err := c.Send(probe.CloseFrame(1011, "")); err != nil {
			t.Fatal(err)
		}
		ended := paused.of(wssecure.EventClosed)
		if len(ended) != 1 || ended[0].Reason != wssecure.ReasonUnavailable || ended[0].CloseCode != 1011 || ended[0].Out.Messages != 1 {
			t.Errorf("ended: %+v", ended)
		} else if end := ended[0].Time.Sub(began); end > 10200*time.Millisecond {
			t.Errorf("a timer has ended it, at %v", end)
		}
		at(12 * time.Second) // its leases have lapsed: the place is another's, and there is one
		if _, r, _ := other.knock(token); r.Status != http.StatusSwitchingProtocols {
			t.Errorf("the place is free, and the other node says %d", r.Status)
		}
		paused.link.Heal()
		at(18 * time.Second)
		if _, r, _ := paused.knock(token); r.Status != http.StatusTooManyRequests {
			t.Errorf("back again, with the place taken: %d", r.Status)
		}
	})
}
