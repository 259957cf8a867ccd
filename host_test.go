package wssecure_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/wssecuretest"
)

func TestHostsOverTheWire(t *testing.T) {
	for list, rows := range tablesOf(t, "internal/origin/testdata/hosts.txt") {
		s := newIssued(t, wssecure.AllowOrigins(wssecuretest.Origin), wssecure.AllowHosts(strings.Fields(list)...))
		rows = append(rows, tableRow{"H-06", "bad", strings.Repeat("a.", 127)}, tableRow{"H-06", "bad", strings.Repeat("a", 64)})
		for _, r := range rows {
			t.Run(r.id+" "+strconv.Quote(r.input), func(t *testing.T) {
				hs := page(s, wssecuretest.Origin).Set("Host", r.input)
				switch r.want {
				case "served":
					wantAdmitted(t, s, hs)
				case "other":
					_, e := wantRefused(t, s, hs, 421, wssecure.ReasonHost)
					if e.Check != "host" {
						t.Errorf("check %q", e.Check)
					}
				case "bad":
					answer, _ := ask(t, s, hs)
					if answer.Status != 400 {
						t.Fatalf("status %d, want 400", answer.Status)
					}
					if r.id != "H-04" && answer.Get("Content-Type") == "application/problem+json" {
						wantProblem(t, s, answer, wssecure.ReasonHost)
					}
				}
			})
		}
	}
}

func TestHost(t *testing.T) {
	named := newIssued(t, wssecure.AllowOrigins(wssecuretest.Origin, "https://evil.example"), wssecure.AllowHosts("ws.example.com"))
	t.Run("H-04 none, two", func(t *testing.T) {
		wantGoRefuses(t, named, page(named, wssecuretest.Origin).Del("Host"))
		wantGoRefuses(t, named, page(named, wssecuretest.Origin).Add("Host: ws.example.com"))
	})
	t.Run("H-07 absolute form", func(t *testing.T) {
		hs := page(named, wssecuretest.Origin)
		hs.Target = "http://evil.net/ws"
		_, e := wantRefused(t, named, hs, 421, wssecure.ReasonHost)
		if e.Host != "evil.net" {
			t.Errorf("host %q", e.Host)
		}
		hs = page(named, wssecuretest.Origin).Set("Host", "evil.net")
		hs.Target = "http://ws.example.com/ws"
		wantAdmitted(t, named, hs)
	})
	t.Run("H-43 rebinding", func(t *testing.T) {
		wantRefused(t, named, page(named, "https://evil.example").Set("Host", "evil.example"), 421, wssecure.ReasonHost)
	})
	t.Run("H-42 forwarded names are not read", func(t *testing.T) {
		for _, s := range []*wssecuretest.Server{
			named,
			newIssued(t, wssecure.AllowOrigins(wssecuretest.Origin), wssecure.AllowHosts("ws.example.com"), wssecure.TrustProxies("X-Forwarded-For", "private")),
			newIssued(t, wssecure.AllowOrigins(wssecuretest.Origin), wssecure.AllowHosts("ws.example.com"), wssecure.TrustProxies("Forwarded", "private")),
		} {
			for _, line := range []string{"X-Forwarded-Host: %s", "Forwarded: for=192.0.2.7;host=%s", "X-Host: %s", "X-Original-Host: %s"} {
				wantAdmitted(t, s, page(s, wssecuretest.Origin).Add(fmt.Sprintf(line, "evil.net")))
				wantRefused(t, s, page(s, wssecuretest.Origin).Set("Host", "evil.net").Add(fmt.Sprintf(line, "ws.example.com")), 421, wssecure.ReasonHost)
			}
		}
	})
	t.Run("H-42 SetPublicURL names a host", func(t *testing.T) {
		s := newIssued(t, wssecure.SetPublicURL("https://ws.example.com"), wssecure.AllowHosts("internal.example"))
		wantAdmitted(t, s, page(s, "https://ws.example.com"))
		wantAdmitted(t, s, page(s, "https://ws.example.com").Set("Host", "internal.example"))
		wantRefused(t, s, page(s, "https://evil.net").Set("Host", "evil.net"), 421, wssecure.ReasonHost)
		wantRefused(t, s, page(s, "https://internal.example").Set("Host", "internal.example"), 403, wssecure.ReasonOrigin)
	})
}
