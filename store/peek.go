package store

// Peek answers by what this node alone knows, and changes nothing: an Admit by the bans, marks and limits that it would
// refuse without asking, or by its shares while the shared store is away, a Claim by the handshake keys it has seen. An
// Admit of which nothing is known admits. Other operations get ErrUnsupported: of tickets a node knows nothing.
func (n *Node) Peek(ops ...Op) {
	now := n.local.rates.Now()
	for _, op := range ops {
		switch o := op.(type) {
		case *Admit:
			q, ok := n.local.ask(o)
			if !ok {
				continue
			}
			o.Verdict = n.refusalOf(o, q, now)
			if o.Key.Kind == KeyNetwork && o.N >= 0 { // a batch leaves its ban to the shared store, for whom it spares
				o.Verdict.Refused, o.Verdict.RetryAfter = n.standingOf(o, q, n.local.at(now))
			}
			if o.Verdict.Refused == None && n.breaker.isOpen() {
				n.foresee(o, q)
			}
			o.Verdict.Held = n.held.of(o.Key)
		case *Claim:
			n.local.peekClaim(o, now)
			o.Local = true
		case *Redeem:
			o.Data, o.OK, o.Err = nil, false, ErrUnsupported
		default:
			op.fail(ErrUnsupported)
		}
	}
}

// foresee is decide without taking anything.
func (n *Node) foresee(a *Admit, q question) {
	now := n.local.rates.Now()
	if a.Err = n.deniedRule(a, now, ErrUnavailable); a.Err != nil || a.N < 0 {
		return
	}
	a.Verdict.Local = true
	if a.Rate != (Rate{}) && n.policies.of(RuleRate, a.Key) != Allow {
		if ok, wait := n.local.rates.PeekN(q.bucket, n.shareOf(a.Rate, q), a.N, now); !ok {
			a.Verdict.Refused, a.Verdict.RetryAfter = OverRate, wait
			return
		}
	}
	if a.Cap > 0 && !n.held.has(leaseName{a.Key, a.Conn}) && n.held.of(a.Key) >= n.capShare(a) {
		a.Verdict.Refused = OverCap
	}
}
