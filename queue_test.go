package wssecure_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/store"
)

// doorman is a verifier that thinks about each token until it is told what to say
// of it: nil admits the subject of that name.
type doorman struct {
	mu     sync.Mutex
	asked  []string
	answer map[string]chan error
}

func (d *doorman) Verify(ctx context.Context, token string) (*wssecure.Identity, error) {
	d.mu.Lock()
	d.asked = append(d.asked, token)
	d.mu.Unlock()
	select {
	case err := <-d.about(token):
		if err == errPanics {
			panic("the verifier has a bug")
		}
		if err != nil {
			return nil, err
		}
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return &wssecure.Identity{Issuer: "https://id.example.com", Subject: token}, nil
}

// errPanics makes a doorman panic.
var errPanics = errors.New("panics")

func (d *doorman) about(token string) chan error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.answer == nil {
		d.answer = map[string]chan error{}
	}
	if d.answer[token] == nil {
		d.answer[token] = make(chan error, 1)
	}
	return d.answer[token]
}

// says tells what to say of a token, and waits until everybody has drawn the
// consequences.
func (d *doorman) says(token string, err error) {
	d.about(token) <- err
	synctest.Wait()
}

func (d *doorman) order() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.asked)
}

// queueGate is a gate whose addresses have burst tokens and get one an hour.
type queueGate struct {
	*gate
	door *doorman
}

func newQueueGate(t *testing.T, burst int) *queueGate {
	return newQueueGateAt(t, wssecure.Rate{N: 1, Per: time.Hour, Burst: burst})
}

func newQueueGateAt(t *testing.T, rate wssecure.Rate) *queueGate {
	q := &queueGate{&gate{t: t}, &doorman{}}
	q.start(stay, []wssecure.Option{wssecure.RequireToken(q.door, wssecure.FromBearer(), wssecure.FromTicket()), wssecure.LimitHandshakes(wssecure.ByIP(), rate)})
	return q
}

const crowded = "203.0.113.9"

// comes knocks and returns when nothing moves any more; the answer is there when
// the handshake is over.
func (q *queueGate) comes(token string, changes ...func(*http.Request)) *pendingAnswer {
	p := &pendingAnswer{came: time.Now()}
	go func() {
		a := q.knock(crowded, append(changes, bearer(token))...)
		p.mu.Lock()
		defer p.mu.Unlock()
		p.a, p.took, p.over = a, time.Since(p.came), true
	}()
	synctest.Wait()
	return p
}

type pendingAnswer struct {
	came time.Time
	mu   sync.Mutex
	a    answer
	took time.Duration
	over bool
}

func (p *pendingAnswer) want(t *testing.T, status int, reason wssecure.Reason, after time.Duration) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.over {
		t.Fatal("no answer yet")
	}
	wantAnswer(t, p.a, status, reason)
	if p.took != after {
		t.Errorf("answered after %s, want %s", p.took, after)
	}
}

func (p *pendingAnswer) wantNone(t *testing.T) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over {
		t.Fatalf("answered %d %s, want it to wait", p.a.status, p.a.reason())
	}
}

// TestQueueOfAnAddress is L-38 where the budget is spent by those who are being
// judged: who comes then waits for what they give back, and for nothing else.
func TestQueueOfAnAddress(t *testing.T) {
	in := func(name string, burst int, test func(t *testing.T, q *queueGate)) {
		t.Run("L-38 "+name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { test(t, newQueueGate(t, burst)) })
		})
	}
	in("who panics holds nobody up", 1, func(t *testing.T, q *queueGate) {
		ann, bob := q.comes("ann"), q.comes("bob")
		q.door.says("ann", errPanics)
		ann.want(t, 500, wssecure.ReasonInternal, 0)
		bob.want(t, 429, wssecure.ReasonRate, 0)
	})
	in("first come, first served", 1, func(t *testing.T, q *queueGate) {
		people := []string{"ann", "bob", "cid", "dee"}
		var answers []*pendingAnswer
		for _, name := range people {
			answers = append(answers, q.comes(name))
		}
		for i, name := range people {
			if got := q.door.order(); !slices.Equal(got, people[:i+1]) {
				t.Fatalf("judged %q, want %q", got, people[:i+1])
			}
			q.door.says(name, nil)
			answers[i].want(t, 101, "", 0)
		}
	})
	in("who is refused gives nothing back", 2, func(t *testing.T, q *queueGate) {
		q.comes("ann")
		q.comes("bob")
		cid, dee := q.comes("cid"), q.comes("dee")
		q.door.says("ann", wssecure.ReasonTokenInvalid)
		cid.wantNone(t)
		time.Sleep(time.Second)
		q.door.says("bob", nil)
		dee.wantNone(t) // cid has it
		q.door.says("cid", wssecure.ReasonTokenInvalid)
		cid.want(t, 401, wssecure.ReasonTokenInvalid, time.Second)
		dee.want(t, 429, wssecure.ReasonRate, time.Second) // nobody is left who could
		q.comes("eve").want(t, 429, wssecure.ReasonRate, 0)
	})
	in("a flood is judged no more for waiting", 10, func(t *testing.T, q *queueGate) {
		asked := newTakes(q)
		var flood []*pendingAnswer
		names := make([]string, 500)
		for i := range names {
			names[i] = strings.Repeat("x", i+1)
			flood = append(flood, q.comes(names[i]))
		}
		for _, name := range names[:10] {
			q.door.says(name, wssecure.ReasonTokenInvalid)
		}
		if n := len(q.door.order()); n != 10 {
			t.Errorf("%d of the flood were judged, want 10", n)
		}
		if n := asked.n.Load(); n != 500 {
			t.Errorf("the budget was asked %d times for a flood of 500", n)
		}
		for _, p := range flood[10:] {
			p.want(t, 429, wssecure.ReasonRate, 0)
		}
	})
	in("without a credential nobody waits, nor is waited for", 2, func(t *testing.T, q *queueGate) {
		q.comes("ann")
		wantAnswer(t, q.knock(crowded), 401, wssecure.ReasonTokenMissing)
		wantAnswer(t, q.knock(crowded), 429, wssecure.ReasonRate)
		bob := q.comes("bob")
		q.door.says("ann", nil)
		bob.wantNone(t)
		q.door.says("bob", nil)
		bob.want(t, 101, "", 0)
	})
	in("other addresses do not wait", 1, func(t *testing.T, q *queueGate) {
		q.comes("ann")
		bob := q.comes("bob")
		q.door.about("cid") <- nil
		wantAnswer(t, q.knock("203.0.113.10", bearer("cid")), 101, "")
		bob.wantNone(t) // what cid gave back is not of its address
		q.door.says("ann", nil)
		q.door.says("bob", nil)
		bob.want(t, 101, "", 0)
	})
	in("it leaves with its client", 1, func(t *testing.T, q *queueGate) {
		q.comes("ann")
		ctx, hangUp := context.WithCancel(t.Context())
		bob := q.comes("bob", func(r *http.Request) { *r = *r.WithContext(ctx) })
		cid := q.comes("cid")
		time.Sleep(time.Second)
		hangUp()
		synctest.Wait()
		bob.want(t, 429, wssecure.ReasonRate, time.Second)
		q.door.says("ann", nil)
		q.door.says("cid", nil)
		cid.want(t, 101, "", time.Second)
	})
	in("Shutdown ends the wait", 1, func(t *testing.T, q *queueGate) {
		q.comes("ann")
		bob := q.comes("bob")
		time.Sleep(time.Second)
		down := make(chan error, 1)
		go func() { down <- q.guard.Shutdown(t.Context()) }()
		synctest.Wait()
		bob.want(t, 503, wssecure.ReasonDraining, time.Second)
		q.door.says("ann", nil)
		if err := <-down; err != nil {
			t.Error(err)
		}
	})
}

// The wait has an end of its own, though somebody who came later is still judged.
func TestQueueEndsWithHandshakeTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueueGateAt(t, wssecure.Rate{N: 1, Per: 8 * time.Second, Burst: 1})
		ann := q.comes("ann")
		time.Sleep(time.Second)
		bob := q.comes("bob")
		time.Sleep(7 * time.Second)
		cid := q.comes("cid") // takes what has come back by itself
		time.Sleep(2 * time.Second)
		synctest.Wait()
		ann.want(t, 503, wssecure.ReasonUnavailable, 10*time.Second)
		bob.wantNone(t)
		time.Sleep(time.Second)
		synctest.Wait()
		bob.want(t, 429, wssecure.ReasonRate, 10*time.Second)
		cid.wantNone(t)
		q.door.says("cid", nil)
		cid.want(t, 101, "", 3*time.Second)
	})
}

// takes is a store in which the next who asks the budget of an address stops,
// before or after.
type takes struct {
	store.Store
	n             atomic.Int64
	before, after atomic.Pointer[chan struct{}]
}

func newTakes(q *queueGate) *takes {
	s := new(takes)
	wssecure.WrapStore(q.guard, func(own store.Store) store.Store { s.Store = own; return s })
	return s
}

func (s *takes) Do(ctx context.Context, ops ...store.Op) error {
	a, is := ops[0].(*store.Admit)
	if !is || a.Key.Kind != store.KeyIP || a.N != 1 {
		return s.Store.Do(ctx, ops...)
	}
	s.n.Add(1)
	if c := s.before.Swap(nil); c != nil {
		<-*c
	}
	err := s.Store.Do(ctx, ops...)
	if c := s.after.Swap(nil); c != nil {
		<-*c
	}
	return err
}

// A token that comes back between the refusal and the wait is not slept through.
func TestQueueMissesNoToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueueGate(t, 1)
		asked, goOn := newTakes(q), make(chan struct{})
		q.comes("ann")
		asked.after.Store(&goOn)
		bob := q.comes("bob") // is refused, and does not know it yet
		q.comes("cid")        // waits
		q.door.says("ann", nil)
		q.door.says("cid", nil)
		close(goOn)
		synctest.Wait()
		q.door.says("bob", nil)
		bob.want(t, 101, "", 0)
	})
}

// Whoever is overtaken on its turn is the next all the same.
func TestQueueKeepsThePlaceOfWhoWasOvertaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueueGate(t, 1)
		asked, goOn := newTakes(q), make(chan struct{})
		q.comes("ann")
		bob, cid := q.comes("bob"), q.comes("cid")
		asked.before.Store(&goOn)
		q.door.says("ann", nil) // bob's turn
		q.comes("eve")
		close(goOn)
		synctest.Wait()
		for _, name := range []string{"eve", "bob", "cid"} {
			q.door.says(name, nil)
		}
		bob.want(t, 101, "", 0)
		cid.want(t, 101, "", 0)
		if got, want := q.door.order(), []string{"ann", "eve", "bob", "cid"}; !slices.Equal(got, want) {
			t.Errorf("judged %q, want %q", got, want)
		}
	})
}

// Waiting has room for two offices, and no address has all of it.
func TestQueuesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueueGate(t, 1)
		var waiting sync.WaitGroup
		for n, address := range []string{"203.0.113.1", "203.0.113.2"} {
			for i := range 1 + 5000 {
				waiting.Go(func() { q.knock(address, bearer(strconv.Itoa(n)+"."+strconv.Itoa(i))) })
			}
			synctest.Wait()
			wantAnswer(t, q.knock(address, bearer("more")), 429, wssecure.ReasonRate)
		}
		waiting.Go(func() { q.knock(crowded, bearer("ann")) })
		synctest.Wait()
		bob := q.comes("bob")
		bob.want(t, 429, wssecure.ReasonRate, 0)
		if n := len(q.door.order()); n != 3 {
			t.Errorf("%d are judged, want 3", n)
		}
		time.Sleep(time.Minute) // all have given up
		waiting.Wait()
		waiting.Go(func() { q.knock("203.0.113.4", bearer("dee")) })
		synctest.Wait()
		again := make(chan answer)
		go func() { again <- q.knock("203.0.113.4", bearer("eve")) }()
		synctest.Wait()
		q.door.says("dee", nil)
		q.door.says("eve", nil)
		wantAnswer(t, <-again, 101, "") // there is room again
		waiting.Wait()
	})
}

// A page that gets its ticket first waits and gives back as a handshake does.
func TestQueueForTickets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueueGate(t, 2)
		tickets := q.guard.TicketHandler()
		answers := make(chan answer, 5)
		ask := func(token string) {
			go func() { answers <- q.knockOn(tickets, crowded, bearer(token), posting("")) }()
			synctest.Wait()
		}
		for _, name := range []string{"ann", "bob", "cid", "dee", "eve"} {
			ask(name)
		}
		for _, name := range []string{"ann", "bob", "cid", "dee"} {
			q.door.says(name, nil)
			ticketOf(t, <-answers)
		}
		q.door.says("eve", wssecure.ReasonTokenInvalid)
		wantAnswer(t, <-answers, 401, wssecure.ReasonTokenInvalid) // and has not given it back
		q.comes("ann")
		q.comes("bob").wantNone(t)
		q.door.says("ann", nil)
		q.door.says("bob", nil)
	})
}
