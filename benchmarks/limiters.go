package benchmarks

import (
	"context"
	"hash/maphash"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/go-chi/httprate"
	sethvargo "github.com/sethvargo/go-limiter/memorystore"
	ulule "github.com/ulule/limiter/v3"
	ululestore "github.com/ulule/limiter/v3/drivers/store/memory"
	"golang.org/x/time/rate"

	"github.com/wssecure/wssecure/internal/limit"

	"github.com/wssecure/wssecure/internal/memnet"
)

// A limiter gives each goroutine a function that asks whether a client may come
// in, and counts it. An hour's budget is large, or one: then every client that
// has come in before is refused.
type limiter struct {
	name string
	make func(tb testing.TB, clients int, budget int) (worker func() func(c client) bool)
}

// A client is its address, in the form that a limiter wants.
type client struct {
	text string // as it stands in Request.RemoteAddr
	addr netip.Addr
}

// clientsOf makes n clients. Their texts are their own: a map that keeps one
// keeps its bytes.
func clientsOf(n int) []client {
	all := make([]client, n)
	for i := range all {
		addr := addressOf(i)
		all[i] = client{addr.String(), addr}
	}
	return all
}

func addressOf(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
}

var (
	cells     = limiter{"cells", makeCells}
	rated     = limiter{"cells", makeRated}
	sethVargo = limiter{"sethvargo/go-limiter", makeSethvargo}
	httpRate  = limiter{"go-chi/httprate, with its headers", makeHTTPRate}
	uluLe     = limiter{"ulule/limiter", makeUlule}
	xTime     = limiter{"64 maps with x/time/rate", makeXTime}

	otherLimiters = []limiter{httpRate, sethVargo, uluLe, xTime}
)

// ratedLoad is the share of cells that clients over no limit may take.
const ratedLoad = 0.7

// makeCells is the guard's own table, in the size that it has by default, or for
// that many clients at the rated load.
func makeCells(_ testing.TB, clients, budget int) func() func(client) bool {
	return takeCells(max(1<<20, cellsFor(clients)), budget)
}

// makeRated is the same table, at the rated load whatever it is.
func makeRated(_ testing.TB, clients, budget int) func() func(client) bool {
	return takeCells(cellsFor(clients), budget)
}

func cellsFor(clients int) int { return int(float64(clients) / ratedLoad) }

func takeCells(size, budget int) func() func(client) bool {
	c := limit.NewCells(size)
	l := limit.NewLimit(limit.Rate{N: budget, Per: time.Hour, Burst: budget})
	return shared(func(x client) bool {
		ok, _ := c.Take(c.HashPrefix(netip.PrefixFrom(x.addr, x.addr.BitLen())), l, 1, c.Now())
		return ok
	})
}

func makeSethvargo(tb testing.TB, _, budget int) func() func(client) bool {
	store, err := sethvargo.New(&sethvargo.Config{Tokens: uint64(budget), Interval: time.Hour})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = store.Close(context.Background()) })
	ctx := context.Background()
	return shared(func(x client) bool {
		_, _, _, ok, err := store.Take(ctx, x.text)
		return ok && err == nil
	})
}

func makeUlule(_ testing.TB, _, budget int) func() func(client) bool {
	l := ulule.New(ululestore.NewStore(), ulule.Rate{Period: time.Hour, Limit: int64(budget)})
	ctx := context.Background()
	return shared(func(x client) bool {
		answer, err := l.Get(ctx, x.text)
		return err == nil && !answer.Reached
	})
}

func makeHTTPRate(_ testing.TB, _, budget int) func() func(client) bool {
	l := httprate.NewRateLimiter(budget, time.Hour)
	return func() func(client) bool {
		w, r := memnet.NewWriter(&memnet.Conn{}), memnet.Request("")
		return func(x client) bool { return !l.OnLimit(w, r, x.text) }
	}
}

// makeXTime is what most programs write by hand, with a lock for each of 64 maps.
func makeXTime(_ testing.TB, _, budget int) func() func(client) bool {
	type shard struct {
		sync.Mutex
		of map[netip.Addr]*rate.Limiter
		_  [48]byte
	}
	var shards [64]shard
	for i := range shards {
		shards[i].of = map[netip.Addr]*rate.Limiter{}
	}
	seed, every := maphash.MakeSeed(), rate.Every(time.Hour/time.Duration(budget))
	return shared(func(x client) bool {
		s := &shards[maphash.Comparable(seed, x.addr)%64]
		s.Lock()
		l := s.of[x.addr]
		if l == nil {
			l = rate.NewLimiter(every, budget)
			s.of[x.addr] = l
		}
		s.Unlock()
		return l.Allow()
	})
}

func shared(take func(client) bool) func() func(client) bool {
	return func() func(client) bool { return take }
}
