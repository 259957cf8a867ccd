package interop_test

import "testing"

// A scenario is one promise that holds over every stack; what the wire polices is
// in TestOneMechanism.
type scenario struct {
	name string // with the promises it holds
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
	{"bad frame", badFrame},
	{"Session.Close S-26", sessionClose},
	{"library closes W-26", libraryCloses},
	{"library drops S-26", libraryDrops},
	{"peer closes", peerCloses},
	{"peer gone W-16", peerGone},
	{"panic", panics},
}

// TestEveryStack runs each scenario over each stack and prints what held where.
func TestEveryStack(t *testing.T) {
	found := newTable()
	var rows, columns []string
	for _, sc := range scenarios {
		rows = append(rows, sc.name)
	}
	for _, st := range stacks {
		columns = append(columns, st.name)
	}
	t.Run("all", func(t *testing.T) {
		for _, st := range stacks {
			for _, sc := range scenarios {
				t.Run(st.name+"/"+sc.name, func(t *testing.T) {
					t.Parallel()
					found.note(t, sc.name, st.name, func() string { return "holds" })
					sc.run(t, st)
				})
			}
		}
	})
	found.print(t, rows, columns)
}
