package wssecure

import (
	"context"
	"time"
)

// Context ends with the session; context.Cause then gives the [*Rejection] that
// says why.
func (s *Session) Context() context.Context { return (*sessionContext)(s) }

// sessionContext is the session as its context, where SessionFrom finds it. What
// can end is made when somebody asks for it: most sessions wait in Read and
// Write, which the connection wakes.
type sessionContext Session

// living is the part of a session's context that ends.
type living struct {
	context.Context
	cancel context.CancelCauseFunc
}

func (*sessionContext) Deadline() (time.Time, bool) { return time.Time{}, false }

func (c *sessionContext) Done() <-chan struct{} { return (*Session)(c).life().Done() }

func (c *sessionContext) Err() error {
	s := (*Session)(c)
	if l := s.living.Load(); l != nil {
		return l.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return context.Canceled
	}
	return nil
}

// Value also answers package context, which asks a parent for the part of it
// that ends, and for its cause.
func (c *sessionContext) Value(key any) any {
	s := (*Session)(c)
	if key == (sessionKey{}) {
		return s
	}
	return s.life().Value(key)
}

// life is made once, ended when the session is over.
func (s *Session) life() *living {
	if l := s.living.Load(); l != nil {
		return l
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.living.Load(); l != nil {
		return l
	}
	l := new(living)
	l.Context, l.cancel = context.WithCancelCause(context.Background())
	if s.over {
		l.cancel(s.ended())
	}
	s.living.Store(l)
	return l
}

// ended is the cause of a context that is over.
func (s *Session) ended() error {
	if c := s.cause.Load(); c != nil {
		return c.rejection
	}
	return context.Canceled // given back without a 101
}

// endContext ends the session's context. Functions of the application that wait
// for it run without a lock held.
func (s *Session) endContext(why error) {
	s.mu.Lock()
	s.over = true
	l := s.living.Load()
	s.mu.Unlock()
	if l != nil {
		l.cancel(why)
	}
}
