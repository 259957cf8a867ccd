package token

// ForgedHeld returns how many forged tokens v remembers.
func ForgedHeld[T any](v *Verifier[T]) int {
	v.forged.mu.Lock()
	defer v.forged.mu.Unlock()
	return len(v.forged.m)
}
