// Package logbook keeps what a logger wrote, for tests of the lines themselves.
package logbook

import (
	"bytes"
	"log/slog"
	"slices"
	"strings"
	"sync"
)

// A Book is what was logged. Its zero value is empty, and open to several writers.
type Book struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *Book) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

// Logger writes records of every level as text.
func (b *Book) Logger() *slog.Logger { return b.In("text") }

// In is a logger of every level in one of slog's own formats: text or json.
func (b *Book) In(format string) *slog.Logger {
	options := &slog.HandlerOptions{Level: slog.LevelDebug}
	if format == "json" {
		return slog.New(slog.NewJSONHandler(b, options))
	}
	return slog.New(slog.NewTextHandler(b, options))
}

func (b *Book) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// Lines are what was logged, line by line.
func (b *Book) Lines() []string {
	return strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
}

// Hints are the lines of text that the operator is told once.
func (b *Book) Hints() []string {
	return slices.DeleteFunc(b.Lines(), func(line string) bool { return !strings.Contains(line, `msg="wssecure: hint"`) })
}
