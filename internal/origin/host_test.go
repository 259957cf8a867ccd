package origin_test

import (
	"strconv"
	"testing"

	"github.com/wssecure/wssecure/internal/origin"
)

func TestHosts(t *testing.T) {
	for _, r := range rows(t, "testdata/hosts.txt") {
		t.Run(r.id+" "+strconv.Quote(r.input), func(t *testing.T) {
			hosts, errs := origin.NewHosts(r.list...)
			if errs != nil {
				t.Fatal(errs)
			}
			got := "other"
			h, err := origin.ParseHost(r.input)
			if err != nil {
				got = "bad"
			} else if hosts.Match(h, 443) {
				got = "served"
			}
			if got != r.want {
				t.Errorf("%s, want %s, of %q", got, r.want, r.list)
			}
		})
	}
}

func TestHostDefaultPort(t *testing.T) {
	hosts, _ := origin.NewHosts("ws.example.com")
	for _, tc := range []struct {
		port, defaultPort uint16
		want              bool
	}{{0, 80, true}, {80, 80, true}, {443, 80, false}, {443, 443, true}, {80, 443, false}} {
		if got := hosts.Match(origin.Host{Name: "ws.example.com", Port: tc.port}, tc.defaultPort); got != tc.want {
			t.Errorf("H-08 port %d where %d is the default: %t", tc.port, tc.defaultPort, got)
		}
	}
}

func TestLocalNames(t *testing.T) {
	for _, tc := range []struct {
		host            string
		loopback, local bool
	}{
		{"localhost", true, true},
		{"LOCALHOST:3000", true, true},
		{"a.localhost", true, true},
		{"127.0.0.1", true, true},
		{"127.255.0.3:80", true, true},
		{"[::1]", true, true},
		{"[0:0:0:0:0:0:0:1]:8443", true, true},
		{"192.0.2.1", false, true},
		{"10.0.0.1", false, true},
		{"[2001:db8::1]", false, true},
		{"[::ffff:127.0.0.1]", false, true},
		{"0.0.0.0", false, true},
		{"localhost.", false, false},
		{"localhost.evil.net", false, false},
		{"evillocalhost", false, false},
		{"127.evil.net", false, false},
		{"127.0.0.1.evil.net", false, false},
		{"ws.example.com", false, false},
	} {
		h, err := origin.ParseHost(tc.host)
		if err != nil {
			t.Fatal(err)
		}
		if got := origin.IsLoopbackHost(h.Name); got != tc.loopback {
			t.Errorf("T-27 %s: loopback %t", tc.host, got)
		}
		if got := origin.IsLocalOrIP(h.Name); got != tc.local {
			t.Errorf("D-23 %s: local or IP %t", tc.host, got)
		}
	}
	if origin.IsLoopbackHost("") || origin.IsLocalOrIP("") {
		t.Error("no name is local")
	}
}
