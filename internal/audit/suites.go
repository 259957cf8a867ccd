package main

import (
	"fmt"
	"slices"
	"strings"
)

// versions checks that TLS 1.2 and 1.3 are offered and nothing else, however a tool spells them.
func versions(offered []string) check {
	want := []string{"1.2", "1.3"}
	slices.Sort(offered)
	return check{name: "TLS 1.2 and 1.3 only", seen: or(strings.Join(offered, ", "), "none"), good: slices.Equal(offered, want)}
}

// aead checks that each suite encrypts and authenticates in one: no CBC, no stream cipher of old, and some suite at all.
func aead(suites []string) check {
	var others []string
	for _, name := range suites {
		if !strings.Contains(name, "GCM") && !strings.Contains(name, "CHACHA20") {
			others = append(others, name)
		}
	}
	if len(others) > 0 {
		return check{name: "AEAD only, no CBC", seen: strings.Join(others, ", ")}
	}
	return check{name: "AEAD only, no CBC", seen: fmt.Sprintf("%d suites", len(suites)), good: len(suites) > 0}
}

// none checks that a list of complaints is empty.
func none(name string, complaints []string) check {
	return check{name: name, seen: or(strings.Join(complaints, "; "), "none"), good: len(complaints) == 0}
}

func or(text, instead string) string {
	if text == "" {
		return instead
	}
	return text
}
