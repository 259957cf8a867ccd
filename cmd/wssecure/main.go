// Command wssecure scans WebSocket endpoints of any server in any language.
//
//	wssecure scan wss://chat.example.com/ws
//	wssecure explain origin-foreign
//
// It attacks what is named on its command line, and nothing else; only scan what you may. See docs/scanner.md.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// Exit codes, for pipelines.
const (
	exitFine   = 0 // scanned, and good enough
	exitFound  = 1 // scanned, and not good enough
	exitCannot = 2 // not scanned: a mistake in the command, or a target that is no WebSocket endpoint
)

const usage = `wssecure scans WebSocket endpoints.

  wssecure scan [flags] URL...   scan ws:// or wss:// endpoints; "wssecure scan -h" lists the flags
  wssecure explain ID            what a finding means, and what closes it
  wssecure list                  every check, by group
  wssecure version               this build
`

// A console is where a command reads and writes.
type console struct {
	out, err io.Writer
	env      func(string) string
	terminal bool // err is one
	colour   bool // out is a terminal that takes colours
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends at once
	c := &console{
		out: os.Stdout, err: os.Stderr, env: os.Getenv,
		terminal: isTerminal(os.Stderr),
		colour:   wantsColour(isTerminal(os.Stdout), os.Getenv),
	}
	os.Exit(c.run(ctx, os.Args[1:]))
}

func (c *console) run(ctx context.Context, args []string) int {
	if len(args) == 0 {
		fmt.Fprint(c.err, usage)
		return exitCannot
	}
	command, rest := args[0], args[1:]
	switch command {
	case "scan":
		return c.scan(ctx, rest)
	case "explain":
		return c.explain(rest)
	case "list":
		return c.list(rest)
	case "version", "-version", "--version":
		if len(rest) != 0 {
			return c.fault("version takes nothing")
		}
		fmt.Fprintln(c.out, versionLine())
		return exitFine
	case "help", "-h", "-help", "--help":
		fmt.Fprint(c.out, usage)
		return exitFine
	}
	return c.fault("%q is no command\n\n%s", command, usage)
}

// fault tells the user what to mend.
func (c *console) fault(format string, args ...any) int {
	fmt.Fprintf(c.err, "wssecure: "+format+"\n", args...)
	return exitCannot
}

// wantsColour follows no-color.org: any value of NO_COLOR is a no.
func wantsColour(terminal bool, env func(string) string) bool {
	return terminal && env("NO_COLOR") == "" && env("TERM") != "dumb"
}

func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
