package interop_test

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/wssecuretest"
)

// A hostility is an attack that npm's ws runs, and how its session ends.
type hostility struct {
	id, attack string // of nodews/hostile.mjs
	options    []wssecure.Option
	revoke     bool // the guard ends the session, once it is open
	connOnly   bool // only ConnHandler sees what is wrong

	code   int
	reason wssecure.Reason
}

var hostilities = append([]hostility{
	{id: "W-12 D2", attack: "ping flood", code: 1008, reason: wssecure.ReasonControlRate},
	{id: "W-12 D2", attack: "pong flood", code: 1008, reason: wssecure.ReasonControlRate},
	{id: "W-08 D3", attack: "fragments", code: 1008, reason: wssecure.ReasonFragments},
	{id: "W-09 D3", attack: "empty fragments", code: 1008, reason: wssecure.ReasonFragments},
	{id: "W-06 D6", attack: "oversize", code: 1009, reason: wssecure.ReasonMessageSize},
	{id: "W-06 D6", attack: "oversize in fragments", code: 1009, reason: wssecure.ReasonMessageSize},
	{id: "W-14 D5", attack: "message flood", code: 1008, reason: wssecure.ReasonMessageRate,
		options: limit(wssecure.Limits{CloseOnRate: true})},
	{id: "W-10 D4", attack: "drip", code: 1008, reason: wssecure.ReasonMessageTime,
		options: limit(wssecure.Limits{MessageTime: time.Second})},
	{id: "W-03 D11", attack: "close of one byte", code: 1002, reason: wssecure.ReasonProtocol},
	{id: "L-16 D11", attack: "unmasked", code: 1002, reason: wssecure.ReasonProtocol},
	{id: "L-16 D11", attack: "unmasked ping", code: 1002, reason: wssecure.ReasonProtocol},
	{id: "W-01 D11", attack: "reserved bit", code: 1002, reason: wssecure.ReasonProtocol},
	{id: "W-02 D11", attack: "reserved opcode", code: 1002, reason: wssecure.ReasonProtocol},
	{id: "W-02 D11", attack: "continuation alone", code: 1002, reason: wssecure.ReasonProtocol},
	{id: "W-02 D11", attack: "message inside a message", code: 1002, reason: wssecure.ReasonProtocol},
	{id: "W-03 D11", attack: "ping in parts", code: 1002, reason: wssecure.ReasonProtocol},
	{id: "W-03 D11", attack: "long ping", code: 1002, reason: wssecure.ReasonProtocol},
	{id: "W-04 D11", attack: "length not shortest", code: 1002, reason: wssecure.ReasonProtocol},
	{id: "W-04 D11", attack: "length with the top bit", code: 1002, reason: wssecure.ReasonProtocol},
	{id: "L-14 D12", attack: "not UTF-8", connOnly: true, code: 1007, reason: wssecure.ReasonUTF8},
	{id: "W-01 L-20", attack: "compressed though declined", code: 1002, reason: wssecure.ReasonProtocol},
	{id: "L-20 W-35", attack: "compression offered", code: 1000, reason: wssecure.ReasonPeer},
	{id: "L-12", attack: "deflate bomb", connOnly: true, code: 1009, reason: wssecure.ReasonMessageSize,
		options: []wssecure.Option{wssecure.AllowCompression()}},
	{id: "W-27 D9", attack: "answers no ping", code: 3008, reason: wssecure.ReasonPong,
		options: append(limit(wssecure.Limits{Pong: 3 * time.Second}), wssecure.SetPing(time.Second))},
	{id: "W-32 D10", attack: "never closes", revoke: true, code: 3000, reason: wssecure.ReasonRevoked},
	{id: "W-32 D10", attack: "never closes, inside a frame", revoke: true, code: 3000, reason: wssecure.ReasonRevoked},
	{id: "W-32 D10", attack: "never closes, sends on", revoke: true, code: 3000, reason: wssecure.ReasonRevoked},
}, closeCodes(0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535)...)

func limit(l wssecure.Limits) []wssecure.Option {
	return []wssecure.Option{wssecure.LimitSession(l)}
}

// closeCodes are close frames with codes that nobody may send.
func closeCodes(codes ...int) (all []hostility) {
	for _, code := range codes {
		all = append(all, hostility{id: "L-15 D11", attack: "close code " + strconv.Itoa(code), code: 1002, reason: wssecure.ReasonProtocol})
	}
	return all
}

// TestHostileNodeClient: what the most used client library can be made to do, to
// the guard's own Conn and to a library behind it.
func TestHostileNodeClient(t *testing.T) {
	if len(missingNode) > 0 {
		t.Skipf("LEFT OUT: %s", strings.Join(missingNode, ", "))
	}
	for _, served := range []struct {
		name    string
		handler func(g *wssecure.Guard) http.Handler
		conn    bool
	}{
		{"ConnHandler", func(g *wssecure.Guard) http.Handler { return g.ConnHandler(wssecuretest.Echo) }, true},
		{"gorilla", func(g *wssecure.Guard) http.Handler { return g.Handler(libraries[1].handler(newApp())) }, false},
	} {
		for _, h := range hostilities {
			if h.connOnly && !served.conn {
				continue
			}
			t.Run(served.name+"/"+h.id+" "+h.attack, func(t *testing.T) {
				t.Parallel()
				h.against(t, served.handler)
			})
		}
	}
}

func (h hostility) against(t *testing.T, handler func(g *wssecure.Guard) http.Handler) {
	own := h.options
	if own == nil {
		own = limit(wssecure.Limits{}) // the defaults
	}
	r := newRig(t)
	r.startWith(t, own, handler)
	beside := r.neighbour(t)
	client := r.attackOf(t, h.attack)
	if extensions := client.opened(); (extensions != "") != (h.attack == "deflate bomb") {
		t.Errorf("extensions %q", extensions)
	}
	var ended time.Time
	if h.revoke {
		ended = time.Now()
		revokes(t, r, nil)
	}
	code, reason := client.closed()
	if code != h.code || h.reason != wssecure.ReasonPeer && reason != string(h.reason) {
		t.Errorf("the client saw %d %q, want %d %q", code, reason, h.code, h.reason)
	}
	beside.wantServed(t)
	e := r.WaitEvent(wssecure.EventClosed)
	if e.Reason != h.reason || int(e.CloseCode) != h.code || e.Subject != user {
		t.Errorf("closed: %s of %s, code %d; want %s, %d (error %v)", e.Reason, e.Subject, e.CloseCode, h.reason, h.code, e.Err)
	}
	if took := e.Time.Sub(ended); h.revoke && took > hang/2 {
		t.Errorf("cut after %v, want about a second", took)
	}
	beside.leave(t)
	r.WaitEvent(wssecure.EventClosed)
	r.wantAllBack(t)
}
