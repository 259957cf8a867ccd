package token

import "time"

// ForgedHeld returns how many forged tokens v remembers.
func ForgedHeld[T any](v *Verifier[T]) int {
	v.forged.mu.Lock()
	defer v.forged.mu.Unlock()
	return len(v.forged.m)
}

// HeadersHeld returns how many headers v need not decode again.
func HeadersHeld[T any](v *Verifier[T]) (n int) {
	set := v.keys.current(time.Now())
	for i := range set.headers {
		if set.headers[i].Load() != nil {
			n++
		}
	}
	return n
}

// RefusedHeld returns how many refusals v remembers.
func RefusedHeld[T any](v *Introspector[T]) int {
	v.refused.mu.Lock()
	defer v.refused.mu.Unlock()
	return len(v.refused.m)
}
