package wssecure_test

import (
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/wssecure/wssecure/internal/probe"
)

// An attack runs in a process of its own, as an attacker's would: this test
// binary, told by its environment whom to attack and how. It has one connection
// at a time and opens the next as soon as it has lost one.

const attackVariable = "WSS_TEST_ATTACK" // kind, address and token

// busyCore is no attack, but what any other process costs: the measure for them.
const busyCore = "a busy core"

// attacks send until their connection is gone.
var attacks = []struct {
	kind string
	run  func(c *probe.Conn)
}{
	{"ping flood", func(c *probe.Conn) { flood(c, nil, probe.Message(probe.Ping, make([]byte, 125))) }},
	{"empty fragments", func(c *probe.Conn) {
		flood(c, probe.AppendFrame(nil, part(probe.Text, false, "")), part(probe.Continuation, false, ""))
	}},
	{"drip", func(c *probe.Conn) { // a packet for each byte, as fast as the network takes them
		message := probe.AppendFrame(nil, probe.Message(probe.Binary, make([]byte, 32<<10)))
		for c.SendSplit(message, 1) == nil {
		}
	}},
	{"oversize", func(c *probe.Conn) {
		header := probe.AppendFrame(nil, probe.Frame{FIN: true, Opcode: probe.Binary, Masked: true, Length: new(uint64(1 << 30))})
		flood(c, header, probe.Message(probe.Binary, make([]byte, 60<<10)))
	}},
	{"messages", func(c *probe.Conn) { flood(c, nil, text("x")) }},
	{"slow reader", nil}, // of its own echoes
}

// flood sends head, and then f for ever.
func flood(c *probe.Conn, head []byte, f probe.Frame) {
	packet := probe.AppendFrame(nil, f)
	for len(packet) < 64<<10 {
		packet = append(packet, packet...)
	}
	for err := c.Send(head); err == nil; {
		err = c.Send(packet)
	}
}

// attack is the attacker's whole life: it ends with its standard input.
func attack(order string) {
	go func() {
		io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	words := strings.Split(order, "|")
	kind, addr, token := words[0], words[1], words[2]
	if kind == busyCore {
		strike(addr, token, func(*probe.Conn) {
			for sum := [32]byte{}; ; {
				sum = sha256.Sum256(sum[:])
			}
		})
	}
	for _, a := range attacks {
		for a.kind == kind {
			strike(addr, token, a.run)
		}
	}
	fmt.Fprintf(os.Stderr, "no attack %q\n", kind)
	os.Exit(1)
}

func strike(addr, token string, run func(c *probe.Conn)) {
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		time.Sleep(10 * time.Millisecond)
		return
	}
	defer nc.Close()
	c := probe.New(nc)
	c.Timeout = time.Minute
	if c.Send(freshHandshake(token).Bytes()) != nil {
		return
	}
	if r, err := c.Response(); err != nil || r.Status != 101 {
		time.Sleep(10 * time.Millisecond)
		return
	}
	if run == nil { // reads nothing
		nc.(*net.TCPConn).SetReadBuffer(4 << 10)
		flood(c, nil, probe.Message(probe.Binary, make([]byte, 1<<10)))
		return
	}
	gone := make(chan struct{})
	go func() { // takes what comes, so that nobody waits for it
		defer close(gone)
		for {
			f, err := c.ReadFrame()
			if err != nil || f.Opcode == probe.Close {
				nc.Close() // on to the next
				return
			}
		}
	}()
	run(c)
	<-gone
}

// startAttack attacks addr until the function that it returns is called.
func startAttack(tb testing.TB, kind, addr, token string) (stop func()) {
	tb.Helper()
	self, err := os.Executable()
	if err != nil {
		tb.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), attackVariable+"="+kind+"|"+addr+"|"+token)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	return func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			tb.Errorf("the attacker: %v", err)
		}
	}
}
