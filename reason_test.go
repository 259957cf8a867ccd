package wssecure_test

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/wssecure/wssecure"
)

// TestReasonTable holds the one table reason -> status, close code, public text
// against its golden file.
func TestReasonTable(t *testing.T) {
	f, err := os.Open("testdata/reasons.txt")
	wantNil(t, err)
	defer f.Close()
	rows := 0
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if strings.HasPrefix(lines.Text(), "#") {
			continue
		}
		rows++
		want := lines.Text()
		slug, _, _ := strings.Cut(want, " ")
		if got := wssecure.VerdictRow(wssecure.Reason(slug)); got != want {
			t.Errorf("%s\nwant %s", got, want)
		}
	}
	if n := wssecure.VerdictCount(); n != rows {
		t.Errorf("%d reasons, the golden file has %d", n, rows)
	}
}

// TestReasonOfTheApplication is Z-06's first half.
func TestReasonOfTheApplication(t *testing.T) {
	own := wssecure.Reason("quota")
	if own.Status() != 403 || own.CloseCode() != 3003 {
		t.Errorf("status %d, close code %d", own.Status(), own.CloseCode())
	}
	err := fmt.Errorf("around: %w", &wssecure.Rejection{Reason: own, Err: os.ErrNotExist})
	if !errors.Is(err, own) || !errors.Is(err, os.ErrNotExist) || errors.Is(err, wssecure.ReasonOrigin) {
		t.Errorf("%v does not unwrap to its reason and cause alone", err)
	}
}

// TestAPI shows drift of the public names: the golden file is what go doc says.
// WSS_UPDATE=1 writes it anew.
func TestAPI(t *testing.T) {
	const golden = "testdata/api.txt"
	got, err := exec.Command("go", "doc", "-all", ".").Output()
	wantNil(t, err)
	if os.Getenv("WSS_UPDATE") != "" {
		wantNil(t, os.WriteFile(golden, got, 0o644))
	}
	want, err := os.ReadFile(golden)
	wantNil(t, err)
	if string(got) != string(want) {
		t.Errorf("go doc -all differs from %s; look at the difference, then run the test with WSS_UPDATE=1", golden)
	}
}
