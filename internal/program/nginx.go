package program

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// around is what every nginx of a test has: one process that touches nothing outside of its folder.
const around = `
daemon off;
master_process off;
pid %[1]s/pid;
error_log %[1]s/error.log;
events { worker_connections 768; }
http {
	access_log off;
	client_body_temp_path %[1]s/body; proxy_temp_path %[1]s/proxy;
	fastcgi_temp_path %[1]s/fastcgi; uwsgi_temp_path %[1]s/uwsgi; scgi_temp_path %[1]s/scgi;
	%[2]s
}
`

// StartNginx runs an nginx in dir, which also has the files that the lines of http name by relative paths, and ends it with
// the test. It returns when nginx listens at addr.
func StartNginx(tb testing.TB, dir, http, addr string) {
	tb.Helper()
	conf, log := filepath.Join(dir, "nginx.conf"), filepath.Join(dir, "error.log")
	if err := os.WriteFile(conf, fmt.Appendf(nil, around, dir, http), 0o600); err != nil {
		tb.Fatal(err)
	}
	cmd := exec.Command("nginx", "-p", dir, "-c", conf, "-e", log)
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait()
	}()
	tb.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(patience):
			cmd.Process.Kill()
			tb.Error("nginx did not end")
		}
	})
	if err := await(tb.Context(), addr, ended); err != nil {
		wrote, _ := os.ReadFile(log)
		tb.Fatalf("nginx: %v\n%s", err, wrote)
	}
}

// NginxVersion is the version of the nginx that StartNginx runs.
func NginxVersion(tb testing.TB) string {
	tb.Helper()
	said, err := exec.Command("nginx", "-v").CombinedOutput()
	if err != nil {
		tb.Fatal(err)
	}
	_, version, _ := strings.Cut(strings.TrimSpace(string(said)), "nginx/")
	return version
}
