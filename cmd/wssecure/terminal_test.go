package main_test

import (
	"bytes"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	main "github.com/wssecure/wssecure/cmd/wssecure"
)

func TestColourIsForTerminalsThatWantIt(t *testing.T) {
	for _, row := range []struct {
		terminal    bool
		noColor, on string
		want        bool
	}{
		{true, "", "xterm-256color", true},
		{true, "", "", true},
		{true, "1", "xterm", false},
		{true, "0", "xterm", false},
		{true, "", "dumb", false},
		{false, "", "xterm", false},
	} {
		env := map[string]string{"NO_COLOR": row.noColor, "TERM": row.on}
		if got := main.WantsColour(row.terminal, func(name string) string { return env[name] }); got != row.want {
			t.Errorf("%+v: %v", row, got)
		}
	}
}

// A log gets a line now and then; a terminal gets one that is written over, and wiped at the end.
func TestProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, terminal := range []bool{false, true} {
			var b bytes.Buffer
			step, end := main.Progress(&b, terminal)
			for i := range 200 {
				time.Sleep(100 * time.Millisecond)
				step(i+1, 200, "tls-rc4")
			}
			end()
			lines, wiped := strings.Count(b.String(), "\n"), strings.HasSuffix(b.String(), "\r\x1b[K")
			if !terminal && (lines != 5 || strings.Contains(b.String(), "\x1b")) {
				t.Errorf("a log of 20 s has %d lines: %q", lines, b.String())
			}
			if terminal && (lines != 0 || !wiped || !strings.Contains(b.String(), "100/200 tls-rc4")) {
				t.Errorf("terminal: %d lines, wiped %v: %q", lines, wiped, b.String())
			}
		}
	})
}
