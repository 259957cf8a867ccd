package wssecure

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/wssecure/wssecure/internal/certs"
	"github.com/wssecure/wssecure/internal/clientip"
	"github.com/wssecure/wssecure/internal/registry"
	"github.com/wssecure/wssecure/store"
)

// core is what all routes of one server share.
type core struct {
	store   store.Store
	node    store.NodeID
	live    *registry.Table[*Session]
	audit   *audit
	proxies *clientip.Proxies
	trusted *clientip.Networks
	certs   *certs.Source

	open     atomic.Int64 // places taken in the whole process
	nextConn atomic.Uint64
	draining atomic.Bool
	leaving  atomic.Bool   // Serve is about to drain
	sessions tasks         // registered sessions: handshakes past their checks, connections not closed yet
	running  tasks         // user code that has not returned
	staged   atomic.Bool   // a drain has begun to end the sessions
	hooks    []func(Event) // New's: for events that belong to no route

	totals         *totalRates
	refusedOrigins *addressBudget
	accepts        *addressBudget
	floodEvents    minuteSample
	banEvents      minuteSample // of connections closed before TLS
	rateEvents     minuteSample // likewise
	storeEvents    minuteSample
	following      *following // nil without SetStore
	failing        failures
	queues         *queues
	badTokens      *badTokens
	banning        sync.Map // keys whose bans are on their way to the store
	rechecks       rechecks
	farewells      farewells
	hinted         [hintCount]atomic.Bool

	mu          sync.Mutex
	verifiers   []ownVerifier
	named       []Verifier // the application's own, by their place
	clientPools []*x509.CertPool
	hellos      map[*tls.Config]helloFunc // of the callers of Harden
}

func newCore(p *policy) *core {
	c := &core{
		store: p.store, node: store.NewNodeID(), live: registry.New[*Session](),
		audit: newAudit(p.logger), proxies: p.proxies, trusted: p.trusted, certs: p.certs, hooks: p.hooks,
		totals: newTotalRates(), refusedOrigins: newAddressBudget(refusedOriginRate), accepts: newAddressBudget(cmp.Or(p.accepts, defaultAccepts)), badTokens: newBadTokens(),
		queues: newQueues(),
	}
	if c.store == nil {
		c.store = store.NewMemory()
	}
	if node := c.nodeStore(); node != nil {
		c.node = node.ID()
	}
	c.nextConn.Store(rand.Uint64()) // another guard may share the node, and the names of its leases
	return c
}

// adopt lets the verifiers and client CAs of a policy work for this server.
func (c *core) adopt(p *policy) {
	p.verifierCalls, p.pages = new(calls), new(pages)
	c.mu.Lock()
	defer c.mu.Unlock()
	if p.verifier != nil && p.verifierName == "" {
		p.verifierName = c.nameOf(p.verifier)
	}
	if own, ok := p.verifier.(ownVerifier); ok && !slices.Contains(c.verifiers, own) {
		c.verifiers = append(c.verifiers, own)
		own.attach(c)
	}
	if p.clientCAs != nil && !slices.Contains(c.clientPools, p.clientCAs) {
		c.clientPools = append(c.clientPools, p.clientCAs)
	}
}
