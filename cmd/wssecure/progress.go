package main

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// A progress shows that a scan moves: one line that is written over on a terminal, elsewhere a line now and then, so
// that the log of a pipeline stays short.
type progress struct {
	to       io.Writer
	terminal bool
	target   string
	began    time.Time
	shown    time.Time
	open     bool // a line is there that has to be wiped
}

// seldom is how often a log hears of a scan; often, a terminal.
const (
	seldom = 5 * time.Second
	often  = 50 * time.Millisecond
)

func (c *console) progress(target string, quiet bool) *progress {
	p := &progress{to: c.err, terminal: c.terminal, target: target, began: time.Now(), shown: time.Now()}
	if quiet {
		p.to = io.Discard
	}
	if !p.terminal {
		fmt.Fprintf(p.to, "wssecure: scanning %s\n", target)
	}
	return p
}

// step is one check that has ended. It is called by one goroutine at a time.
func (p *progress) step(done, all int, last string) {
	pause := seldom
	if p.terminal {
		pause = often
	}
	now := time.Now()
	if now.Sub(p.shown) < pause && done < all {
		return
	}
	p.shown = now
	if !p.terminal {
		fmt.Fprintf(p.to, "wssecure: %d of %d checks, %s\n", done, all, now.Sub(p.began).Round(100*time.Millisecond))
		return
	}
	const width = 24
	full := width * done / max(all, 1)
	fmt.Fprintf(p.to, "\r\x1b[K%s%s %3d/%d %s", strings.Repeat("█", full), strings.Repeat("░", width-full), done, all, last)
	p.open = true
}

func (p *progress) end() {
	if p.open {
		fmt.Fprint(p.to, "\r\x1b[K")
	}
}
