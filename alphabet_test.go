package wssecure_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/wssecure/wssecure"
)

// The alphabets of RFC 9110 section 5.6.2 and RFC 6750 section 2.1, byte by byte
// and spelled out here once more: the guard looks its own up in tables.
func TestAlphabets(t *testing.T) {
	const alphanumeric = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	ours := newGate(t, quiet)
	theirs := newTokenGate(t, nil)
	for b := range 256 {
		c := string([]byte{byte(b)})
		name := ours.knock(fmt.Sprintf("198.51.100.%d", b), header("Sec-Websocket-Protocol", "a"+c+"b"))
		if want := strings.Contains("!#$%&'*+-.^_`|~,"+alphanumeric, c); want != (name.status == 101) { // a comma parts two
			t.Errorf("subprotocol with byte %#x: %d, want it to be sound: %t", b, name.status, want)
		}
		token := theirs.knock(fmt.Sprintf("198.51.100.%d", b), bearer("a"+c+"b"))
		want := wssecure.ReasonCredential
		if strings.Contains("-._~+/"+alphanumeric, c) {
			want = wssecure.ReasonTokenInvalid
		}
		if token.reason() != string(want) {
			t.Errorf("token with byte %#x: %s, want %s", b, token.reason(), want)
		}
	}
}

// A list is cut at its commas, and blanks around an element are none of it.
func TestLists(t *testing.T) {
	elements := []string{"upgrade", " Upgrade\t", "\t UPGRADE", "keep-alive", "", " ", "upgrade x", "xupgrade", "upgrade;", "\vupgrade", "\u00a0upgrade", "upgrad\u212a"}
	var lists []string
	for _, a := range elements {
		lists = append(lists, a)
		for _, b := range elements {
			lists = append(lists, a+","+b, a+",,"+b, ","+a+","+b+",")
		}
	}
	g := newGate(t, quiet)
	for i, list := range lists {
		want := false
		for _, element := range strings.Split(list, ",") {
			want = want || strings.ToLower(strings.Trim(element, " \t")) == "upgrade"
		}
		a := g.knock(fmt.Sprintf("20.0.%d.%d", i/200, i%200), header("Connection", list))
		if want != (a.status == 101) {
			t.Errorf("Connection: %q: %d, want it to name upgrade: %t", list, a.status, want)
		}
	}
}
