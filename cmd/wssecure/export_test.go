package main

import "io"

// WantsColour is what decides about colour.
var WantsColour = wantsColour

// Progress shows steps on to as on a terminal, or as in a log.
func Progress(to io.Writer, terminal bool) (step func(done, all int, last string), end func()) {
	p := (&console{err: to, terminal: terminal}).progress("wss://x/", false)
	return p.step, p.end
}
