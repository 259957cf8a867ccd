package endpoint

import "net/netip"

// SetAt stands for a connection that ended at that address.
func (e *Endpoint) SetAt(at netip.AddrPort) { e.at = at }
