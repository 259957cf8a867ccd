package main

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

// A site is a running quickstart.
type site struct {
	address   string // host:port
	authority string // the file of its certificate authority
	cmd       *exec.Cmd
}

func (s *site) port() string {
	_, port, _ := net.SplitHostPort(s.address)
	return port
}

// stop ends it at once: nobody is served who would want to be told.
func (s *site) stop() {
	s.cmd.Process.Kill()
	s.cmd.Wait()
}

// startQuickstart builds and starts the example on a free port, and reads from its greeting where it is.
func startQuickstart(ctx context.Context, dir string) (*site, error) {
	program := filepath.Join(dir, "quickstart")
	if said, err := exec.CommandContext(ctx, "go", "build", "-o", program, "./examples/quickstart").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w\n%s", err, said)
	}
	s := &site{cmd: exec.CommandContext(ctx, program, "-addr", "localhost:0"), authority: filepath.Join(dir, "ca.pem")}
	s.cmd.Stderr = os.Stderr
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	lines := bufio.NewScanner(out)
	for s.address == "" && lines.Scan() {
		if words := strings.Fields(lines.Text()); len(words) > 1 && words[0] == "Open" {
			s.address = strings.TrimPrefix(words[1], "https://")
		}
	}
	if s.address == "" {
		s.stop()
		return nil, errors.New("the quickstart does not say where it is")
	}
	go io.Copy(io.Discard, out)
	if err := s.saveAuthority(ctx); err != nil {
		s.stop()
		return nil, err
	}
	return s, nil
}

// saveAuthority fetches the authority from the process that was just started, before anything can be verified by it.
func (s *site) saveAuthority(ctx context.Context) error {
	client := &http.Client{
		Timeout:   10 * time.Second,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true},
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+s.address+"/ca.pem", nil)
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
	return os.WriteFile(s.authority, pem, 0o600)
}
