package wssecure_test

import (
	"bytes"
	"log/slog"
	"slices"
	"strings"
	"sync"
)

// logBook is what a logger wrote, for tests of the lines themselves; for tests of
// records there is recorder.
type logBook struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *logBook) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

// logger writes every level as text.
func (b *logBook) logger() *slog.Logger { return b.everything("text") }

// everything is a logger of every level in one of slog's own formats.
func (b *logBook) everything(format string) *slog.Logger {
	options := &slog.HandlerOptions{Level: slog.LevelDebug}
	if format == "json" {
		return slog.New(slog.NewJSONHandler(b, options))
	}
	return slog.New(slog.NewTextHandler(b, options))
}

func (b *logBook) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func (b *logBook) lines() []string {
	return strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
}

// hints are the log lines that the operator is told once.
func (b *logBook) hints() []string {
	return slices.DeleteFunc(b.lines(), func(line string) bool { return !strings.Contains(line, `msg="wssecure: hint"`) })
}
