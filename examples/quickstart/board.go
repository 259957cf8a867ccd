package main

import "sync"

// board hands every post to everyone who watches, and keeps the newest for those who come later. It never waits: a
// watcher who reads too slowly loses her oldest posts, so one stalled browser costs its neighbours nothing.
type board[T any] struct {
	mu       sync.Mutex
	recent   []T
	watchers map[chan T]struct{}
}

const (
	boardKeeps = 64  // posts a newcomer is shown
	boardQueue = 256 // posts a slow watcher may lag behind
)

func newBoard[T any]() *board[T] {
	return &board[T]{watchers: make(map[chan T]struct{})}
}

func (b *board[T]) post(v T) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.recent) == boardKeeps {
		b.recent = append(b.recent[:0], b.recent[1:]...)
	}
	b.recent = append(b.recent, v)
	for w := range b.watchers {
		if len(w) == cap(w) {
			select { // the watcher may have made room in the meantime
			case <-w:
			default:
			}
		}
		w <- v // never blocks: only this method sends, and it holds the lock
	}
}

// watch returns the recent posts and then the new ones; leave when done.
func (b *board[T]) watch() (posts <-chan T, leave func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	w := make(chan T, boardQueue)
	for _, v := range b.recent {
		w <- v
	}
	b.watchers[w] = struct{}{}
	return w, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.watchers, w)
	}
}
