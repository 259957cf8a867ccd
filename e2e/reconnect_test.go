package e2e

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestReconnect runs what a page does after each close code, in a time of its own.
func TestReconnect(t *testing.T) {
	// go test keeps a result until a file changes that it has seen the test look at.
	for _, file := range []string{"reconnect.test.mjs", "../examples/quickstart/page/reconnect.js"} {
		if _, err := os.ReadFile(filepath.FromSlash(file)); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if out, err := exec.CommandContext(ctx, "node", "--test", "reconnect.test.mjs").CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
