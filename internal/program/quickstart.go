package program

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// A Quickstart is a running examples/quickstart.
type Quickstart struct {
	Address   string // localhost and its port
	Token     string // the one that it prints for terminals
	Authority string // the file of its certificate authority

	cmd   *exec.Cmd
	ended chan error
}

// StartQuickstart builds it into dir, starts it on a free port, and reads from its greeting where it is.
func StartQuickstart(ctx context.Context, dir string) (*Quickstart, error) {
	binary := filepath.Join(dir, "quickstart")
	build := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-o", binary, "github.com/wssecure/wssecure/examples/quickstart")
	if said, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w\n%s", err, said)
	}
	q := &Quickstart{cmd: exec.Command(binary, "-addr", "localhost:0"), Authority: filepath.Join(dir, "ca.pem"), ended: make(chan error, 1)}
	q.cmd.Stderr = os.Stderr
	out, err := q.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := q.cmd.Start(); err != nil {
		return nil, err
	}
	overdue := time.AfterFunc(patience, func() { q.cmd.Process.Kill() })
	defer overdue.Stop()
	err = q.readGreeting(bufio.NewScanner(out))
	go func() {
		io.Copy(io.Discard, out)
		q.ended <- q.cmd.Wait()
	}()
	if err == nil {
		err = q.saveAuthority(ctx)
	}
	if err != nil {
		q.Stop()
		return nil, err
	}
	return q, nil
}

// Port is the port that it listens on.
func (q *Quickstart) Port() string {
	_, port, _ := net.SplitHostPort(q.Address)
	return port
}

// Stop ends it at once: nobody is served who would want to be told. It may have ended before.
func (q *Quickstart) Stop() {
	q.cmd.Process.Kill()
	err := <-q.ended
	q.ended <- err
}

// Interrupt is Ctrl-C. It returns what the quickstart ended with.
func (q *Quickstart) Interrupt() error {
	if err := q.cmd.Process.Signal(os.Interrupt); err != nil {
		return err
	}
	select {
	case err := <-q.ended:
		q.ended <- err
		return err
	case <-time.After(patience):
		return errors.New("it does not end")
	}
}

func (q *Quickstart) readGreeting(lines *bufio.Scanner) error {
	for q.Address == "" || q.Token == "" {
		if !lines.Scan() {
			return fmt.Errorf("the quickstart's greeting names no address or token: %q, %v", q.Address, lines.Err())
		}
		switch words := strings.Fields(lines.Text()); {
		case len(words) > 1 && words[0] == "Open":
			q.Address = strings.TrimPrefix(words[1], "https://")
		case len(words) > 1 && words[0] == "Token":
			q.Token = words[1]
		}
	}
	return nil
}

// saveAuthority fetches the authority from the process that was just started, before anything can be verified by it.
func (q *Quickstart) saveAuthority(ctx context.Context) error {
	client := &http.Client{
		Timeout:   patience,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true},
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+q.Address+"/ca.pem", nil)
	if err != nil {
		return err
	}
	answer, err := client.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	pem, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s, %v", request.URL, answer.Status, err)
	}
	return os.WriteFile(q.Authority, pem, 0o600)
}
