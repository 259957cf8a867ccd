package interop_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
)

// A scenario is one promise that holds over every stack.
type scenario struct {
	name string // with the SPEC rows it covers
	run  func(t *testing.T, st stack)
}

var scenarios = []scenario{
	{"echo W-17", echoes},
	{"echo with a real client", echoesToClient},
	{"early bytes W-18", earlyBytes},
	{"refused, never reached W-18 H-33", refusedNeverReaches},
	{"ordinary request K-10", ordinaryNeverUpgrades},
	{"own refusal K-14 K-15 K-29 W-21", refusesItself},
	{"HSTS once H-34 D-16", hstsOnce},
	{"HSTS of its own H-34", hstsOfItsOwn},
	{"headers from outside K-17", foreignHandshakeHeaders},
	{"marker A-52", markerInserted},
	{"chosen subprotocol H-22", subprotocolChosen},
	{"subprotocol not let through W-22", subprotocolNotLetThrough},
	{"credentials gone A-33", credentialsStripped},
	{"no extension W-35", extensionsStripped},
	{"message types W-37", messageTypes},
	{"deflate W-35 W-36 H-28", deflated},
	{"ping and end amid a flood", endsAmidFlood},
	{"revoked", revoked},
	{"token expired", tokenExpired},
	{"message too large W-06", messageTooLarge},
	{"bad frame", badFrame},
	{"Shutdown", shutdown},
	{"Session.Close S-26", sessionClose},
	{"library closes W-26", libraryCloses},
	{"library drops S-26", libraryDrops},
	{"peer closes", peerCloses},
	{"peer gone W-16", peerGone},
	{"panic", panics},
}

// TestEveryStack runs each scenario over each stack and prints what held where.
func TestEveryStack(t *testing.T) {
	var mu sync.Mutex
	held := map[string]string{}
	t.Run("all", func(t *testing.T) {
		for _, st := range stacks {
			for _, sc := range scenarios {
				t.Run(st.name+"/"+sc.name, func(t *testing.T) {
					t.Parallel()
					t.Cleanup(func() { // the first registered runs last
						mu.Lock()
						defer mu.Unlock()
						held[st.name+"/"+sc.name] = map[bool]string{false: "holds", true: "FAILS"}[t.Failed()]
					})
					sc.run(t, st)
				})
			}
		}
	})
	var table strings.Builder
	fmt.Fprintf(&table, "\n%-34s", "")
	for _, st := range stacks {
		fmt.Fprintf(&table, "%-14s", st.name)
	}
	for _, sc := range scenarios {
		fmt.Fprintf(&table, "\n%-34s", sc.name)
		for _, st := range stacks {
			fmt.Fprintf(&table, "%-14s", held[st.name+"/"+sc.name])
		}
	}
	t.Log(table.String())
}
