package origin_test

import (
	"net"
	"strconv"
	"strings"
	"testing"

	"github.com/wssecure/wssecure/internal/origin"
)

// secondHost is ParseHost by regular expressions and package net.
func secondHost(s string) (h origin.Host, ok bool) {
	m := hostPort.FindStringSubmatch(s)
	if m == nil || strings.Contains(s, "\n") || len(m[1]) > 253 {
		return h, false
	}
	if m[2] != "" {
		n, err := strconv.ParseUint(m[2], 10, 16)
		if err != nil {
			return h, false
		}
		h.Port = uint16(n)
	}
	name := strings.ToLower(m[1])
	if inner, found := strings.CutPrefix(name, "["); found {
		ip := net.ParseIP(strings.TrimSuffix(inner, "]"))
		if ip == nil || !strings.Contains(inner, ":") {
			return h, false
		}
		// Package net writes a mapped address as IPv4.
		if ip.To4() != nil {
			h.Name = "[::ffff:" + ip.String() + "]"
		} else {
			h.Name = "[" + ip.String() + "]"
		}
		return h, true
	}
	if numeric.MatchString(name) && (!quad.MatchString(name) || strings.HasSuffix(name, ".")) {
		return h, false
	}
	h.Name = name
	return h, true
}

// second is Parse, built on secondHost.
func second(s string) (o origin.Origin, ok bool) {
	m := shape.FindStringSubmatch(s)
	if m == nil || len(s) > 300 {
		return o, false
	}
	h, ok := secondHost(m[2])
	if !ok || strings.HasSuffix(h.Name, ".") {
		return o, false
	}
	o = origin.Origin{Scheme: strings.ToLower(m[1]), Host: h.Name, Port: h.Port}
	if o.Port == 0 && o.Scheme == "https" {
		o.Port = 443
	}
	if o.Port == 0 && o.Scheme == "http" {
		o.Port = 80
	}
	return o, true
}

// listed is Match by looking at every pattern.
func listed(o origin.Origin, patterns []string) string {
	verdict := "none"
	for _, p := range patterns {
		base, star := strings.Replace(p, "://*.", "://", 1), strings.Contains(p, "*")
		want, ok := second(base)
		switch {
		case !ok || o.Scheme != want.Scheme || o.Port != want.Port:
		case !star && o.Host == want.Host:
			return "exact"
		case star && strings.HasSuffix(o.Host, "."+want.Host):
			verdict = "star"
		}
	}
	return verdict
}

func FuzzParse(f *testing.F) {
	for _, r := range rows(f, "testdata/origins.txt") {
		f.Add(r.input, strings.Join(r.list, " "))
	}
	for _, r := range rows(f, "testdata/hosts.txt") {
		f.Add("https://"+r.input, "https://*.example.com")
	}
	f.Fuzz(func(t *testing.T, s, patterns string) {
		o, err := origin.Parse(s)
		want, ok := second(s)
		if (err == nil) != ok || err == nil && o != want {
			t.Fatalf("Parse(%q) = %+v, %v; the second parser says %+v, %t", s, o, err, want, ok)
		}
		if err == nil {
			if len(s) > 300 || len(o.Host) > 253 {
				t.Fatalf("Parse(%q) is beyond its bounds", s)
			}
			if again, err := origin.Parse(o.String()); err != nil || again != o {
				t.Fatalf("Parse(%q) = %+v, %v; want %+v back", o.String(), again, err, o)
			}
		}
		list := strings.Fields(patterns)
		l, errs := origin.NewList(list...)
		if (l == nil) != (len(errs) > 0) {
			t.Fatalf("NewList(%q) = %v, %v", list, l, errs)
		}
		if l == nil {
			return
		}
		wantVerdict := "none"
		if ok {
			wantVerdict = listed(want, list)
		}
		if got := verdicts[l.Match(s)]; got != wantVerdict {
			t.Fatalf("Match(%q) = %s, want %s, of %q", s, got, wantVerdict, list)
		}
		if again, errs := origin.NewList(l.Strings()...); errs != nil || len(again.Strings()) != len(list) {
			t.Fatalf("NewList does not take its own Strings %q: %v", l.Strings(), errs)
		}
	})
}

func FuzzHost(f *testing.F) {
	for _, r := range rows(f, "testdata/hosts.txt") {
		f.Add(r.input)
	}
	for _, r := range rows(f, "testdata/origins.txt") {
		_, host, _ := strings.Cut(r.input, "://")
		f.Add(host)
	}
	f.Fuzz(func(t *testing.T, s string) {
		h, err := origin.ParseHost(s)
		want, ok := secondHost(s)
		if (err == nil) != ok || err == nil && h != want {
			t.Fatalf("ParseHost(%q) = %+v, %v; the second parser says %+v, %t", s, h, err, want, ok)
		}
		if err != nil {
			return
		}
		if again, err := origin.ParseHost(h.Name); err != nil || again.Name != h.Name {
			t.Fatalf("ParseHost(%q) = %+v, %v: not canonical", h.Name, again, err)
		}
		if hosts, errs := origin.NewHosts(s); errs != nil || !hosts.Match(h, 443) {
			t.Fatalf("NewHosts(%q): %v, and it does not serve itself", s, errs)
		}
	})
}

// Every refusal of a list is a line of three parts, and the entry it says to
// write is one that the list takes.
func FuzzListFaults(f *testing.F) {
	for _, tc := range originFaults {
		f.Add(tc.pattern)
	}
	for _, tc := range hostFaults {
		f.Add(tc.pattern)
	}
	f.Fuzz(func(t *testing.T, p string) {
		if _, errs := origin.NewList(p); errs != nil {
			if fix, found := toWrite(t, p, errs[0]); found {
				if _, errs := origin.NewList(fix); errs != nil {
					t.Errorf("NewList(%q) says to write %q, which is refused: %v", p, fix, errs)
				}
			}
		}
		if _, errs := origin.NewHosts(p); errs != nil {
			if fix, found := toWrite(t, p, errs[0]); found {
				if _, errs := origin.NewHosts(fix); errs != nil {
					t.Errorf("NewHosts(%q) says to write %q, which is refused: %v", p, fix, errs)
				}
			}
		}
		if _, err := origin.ParsePublic(p); err != nil {
			if fix, found := toWrite(t, p, err); found {
				if _, err := origin.ParsePublic(fix); err != nil {
					t.Errorf("ParsePublic(%q) says to write %q, which is refused: %v", p, fix, err)
				}
			}
		}
	})
}

// toWrite checks the form of a fault about p and takes the text out of its fix.
func toWrite(t *testing.T, p string, err error) (string, bool) {
	t.Helper()
	rest, ok := strings.CutPrefix(err.Error(), strconv.Quote(p)+" ")
	if !ok {
		t.Fatalf("%v does not name the value %q", err, p)
	}
	i := strings.LastIndex(rest, "; ")
	if i <= 0 || i+2 == len(rest) || strings.Contains(rest, "\n") {
		t.Fatalf("%v does not say what is wrong and what to do", err)
	}
	quoted, ok := strings.CutPrefix(rest[i+2:], `write "`)
	return strings.TrimSuffix(quoted, `"`), ok
}
