package probe_test

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wssecure/wssecure/internal/probe"
)

// What comes before the answer is none: a server that says 100 first may say 101 then.
func TestAnswerPassesInterimAnswersOver(t *testing.T) {
	const switching = "HTTP/1.1 101 Switching Protocols\r\n\r\n"
	for _, row := range []struct {
		name, sent string
		want       int // 0: an error
	}{
		{"none", switching, 101},
		{"100", "HTTP/1.1 100 Continue\r\n\r\n" + switching, 101},
		{"102 and 103", "HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", 403},
		{"ten", strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 10) + switching, 101},
		{"without end", strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 1000), 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			c := saying(t, row.sent)
			r, err := c.Answer()
			switch {
			case row.want == 0 && err == nil:
				t.Errorf("answered %d", r.Status)
			case row.want != 0 && (err != nil || r.Status != row.want):
				t.Errorf("%v, %v; want %d", r, err, row.want)
			}
		})
	}
}

// All of an answer is one step, however many interim ones a server drips.
func TestAnswerIsOneStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		defer ours.Close()
		over := make(chan struct{})
		go func() {
			defer close(over)
			for {
				if _, err := fmt.Fprint(theirs, "HTTP/1.1 100 Continue\r\n\r\n"); err != nil {
					return
				}
				<-time.After(time.Second)
			}
		}()
		began := time.Now()
		c := probe.New(ours)
		c.Timeout = 5 * time.Second
		if _, err := c.Answer(); err == nil || time.Since(began) > c.Timeout {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		theirs.Close()
		<-over
	})
}

// saying is a connection on which sent comes.
func saying(t *testing.T, sent string) *probe.Conn {
	ours, theirs := net.Pipe()
	t.Cleanup(func() { ours.Close(); theirs.Close() })
	go fmt.Fprint(theirs, sent)
	return probe.New(ours)
}
