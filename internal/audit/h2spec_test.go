package main

import (
	"os"
	"strings"
	"testing"
)

// The reports of the quickstart and of net/http alone, as h2spec wrote them; what fails with both is none of ours.
func TestHTTP2IsAsGoodAsWithoutUs(t *testing.T) {
	read := func(name string) string {
		text, err := os.ReadFile("testdata/" + name)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	good, plain := read("good-h2spec.xml"), read("plain-h2spec.xml")
	const sound = `<testcase package="generic/1" classname="Sends a client connection preface" time="0.0003"></testcase>`
	broken := strings.Replace(good, sound, strings.Replace(sound, "></", "><failure>Timeout</failure></", 1), 1)
	for _, row := range []struct {
		name, result, plain string
		failed              map[string]string
	}{
		{"both alike", good, plain, nil},
		{"one more fails", broken, plain, map[string]string{"as net/http alone": "5 fail, 4 with net/http alone; generic/1: Sends a client connection preface"}},
		{"one fails with net/http alone", good, broken, nil},
		{"most were not tried", good[:strings.Index(good, "<testsuite name=\"4.2.")] + "</testsuites>", plain, map[string]string{"all cases were tried": ", 145 with net/http alone"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			checks, err := readH2Spec([]byte(row.result), []byte(row.plain))
			if err != nil {
				t.Fatal(err)
			}
			wantFailed(t, checks, row.failed)
		})
	}
	for _, text := range []string{"", "<testsuites></testsuites>", "no report"} {
		if _, err := readH2Spec([]byte(good), []byte(text)); err == nil {
			t.Errorf("%q is read", text)
		}
	}
}
