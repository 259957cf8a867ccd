package benchmarks

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"syscall"
	"time"

	"github.com/wssecure/wssecure/internal/memnet"
)

// diallerArguments are what a dialler is told.
type diallerArguments struct{ To, Token string }

// runDialler opens as many sockets over TLS, each with a full handshake, as it
// is asked to, one after the other, and leaves each at once.
func runDialler(arguments []byte) error {
	var a diallerArguments
	if err := parse(arguments, &a); err != nil {
		return err
	}
	keys := &memnet.Nonces{Last: rand.Uint64()} // the guard may have seen those of another dialler
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		n, err := strconv.Atoi(lines.Text())
		if err != nil {
			return err
		}
		for range n {
			c, err := tls.Dial("tcp", a.To, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13})
			if err != nil {
				return fmt.Errorf("dialler: %w", err)
			}
			if err := upgrade(c, a.Token, keys); err != nil {
				return fmt.Errorf("dialler: %w", err)
			}
			c.Close()
		}
		if err := answer(n); err != nil {
			return err
		}
	}
	return nil
}

// cpuTime is what this process has spent of the processors.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
