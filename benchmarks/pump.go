package benchmarks

import (
	"fmt"
	"io"
	"os"

	"github.com/wssecure/wssecure/internal/memnet"
)

// pumpArguments are what a pump is told: where to, and how large its messages
// are and how many of them may be on their way.
type pumpArguments struct {
	To, Token   string
	Size, Depth int
}

// runPump sends messages as fast as their echoes come back. It favours nobody:
// it counts bytes, and parses nothing.
func runPump(arguments []byte) error {
	var a pumpArguments
	if err := parse(arguments, &a); err != nil {
		return err
	}
	c, err := dial("", a.To, a.Token, &memnet.Nonces{})
	if err != nil {
		return err
	}
	go func() { // whoever started it has gone
		_, _ = io.Copy(io.Discard, os.Stdin)
		c.Close()
	}()
	all := memnet.Frames(a.Size, a.Depth)
	one, back := len(all)/a.Depth, len(all)/a.Depth-4 // an echo has no masking key
	if _, err := c.Write(all); err != nil {
		return err
	}
	buf, owed := make([]byte, 256<<10), 0
	for {
		n, err := c.Read(buf)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("pump: %w", err)
		}
		owed += n
		for owed >= back {
			k := min(owed/back, a.Depth)
			if _, err := c.Write(all[:k*one]); err != nil {
				return nil
			}
			owed -= k * back
		}
	}
}
