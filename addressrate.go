package wssecure

import "github.com/wssecure/wssecure/store"

// This file is the budget of an address, which a handshake meets before anything
// that costs.

// checkRate asks whether the client's address is banned or over its budget. With
// a token that was verified before, or a ticket for one, either passes: whoever
// shares an address with an attacker, or with many, keeps its access. The ticket
// is read here, since the store is asked anyway, and judged in the token's place.
func (a *attempt) checkRate() error {
	a.pageAdmitted = a.originTrust == originExact || a.originTrust == originLoose
	if a.trusted.Contains(a.client) {
		return nil
	}
	a.queueUp()
	for {
		v, wide, err := a.chargeAddress()
		switch {
		case err != nil:
			return err
		case v.Refused == store.None:
			a.charged = true
			return nil
		case v.Refused == store.OverRate && !a.isKnown() && a.awaitTurn():
			continue
		case a.draining.Load():
			return a.refuseDraining()
		}
		return a.judgeAddress(&v, wide)
	}
}

// chargeAddress takes a token of the client's address, or says who has none: wide
// is the /48 around it.
func (a *attempt) chargeAddress() (v store.Verdict, wide bool, err error) {
	adm := newAdmission()
	defer adm.free()
	adm.addressTokens(a, 1)
	if a.showsTicket() {
		adm.redeem(store.Redeem{Ticket: a.creds.text, Keep: true})
	}
	if err := adm.do(a); err != nil {
		return v, false, err
	}
	if adm.redeems {
		a.ticket.asked, a.ticket.read = true, adm.ticket
	}
	for i := range adm.admits[:adm.n] {
		if v := adm.admits[i].Verdict; v.Refused != store.None {
			a.returnAddressTokens(adm.admits[:adm.n])
			return v, i > 0, nil
		}
	}
	return v, false, nil
}

// queueUp lets others of the address wait for this handshake, if it shows what
// could admit it with an identity.
func (a *attempt) queueUp() {
	if a.policy.verifier != nil && a.creds.text != "" || a.policy.verifier == nil && a.hasClientCert() {
		a.queues.enter(&a.queued, a.addresses().narrow.Prefix)
	}
}

// awaitTurn waits, within the time of LimitHandshakeTime, for what others of the
// address give back, and reports whether the budget is to be asked again.
func (a *attempt) awaitTurn() bool {
	return a.queues.wait(a.r.Context(), &a.queued, a.started.Add(a.policy.handshakeTime))
}

// leaveQueue ends what queueUp began, when the checks are over.
func (a *attempt) leaveQueue(admitted bool) {
	a.queues.leave(&a.queued, admitted && a.charged && a.identity != nil)
}

// returnAddressToken is for a request that takes no place, with which a handshake
// gives its token back.
func (a *attempt) returnAddressToken() {
	if !a.charged || a.identity == nil {
		return
	}
	adm := newAdmission()
	defer adm.free()
	adm.addressTokens(a, -1)
	if err := adm.do(a); err != nil {
		a.storeFailed(err)
	}
}

// judgeAddress lets a known token pass what holds its address up. A ban is not
// for it, and a spent budget may be a whole office that reconnects at once: each
// gives its token back, but the last come before the first has done so. wide says
// that the /48 around the address has refused it.
func (a *attempt) judgeAddress(v *store.Verdict, wide bool) error {
	if a.isKnown() {
		return a.checkKnownToken()
	}
	a.retryAfter = v.RetryAfter
	if v.Refused == store.Banned {
		return a.refuseSaying(ReasonBanned, func(a *attempt) (seen, wanted string) {
			return a.client.String(), "an address without a ban"
		})
	}
	if wide {
		return a.refuseSaying(ReasonRate, func(a *attempt) (seen, wanted string) {
			return a.addresses().wide.Prefix.String(), Rate(a.policy.wideRate).words()
		})
	}
	return a.refuseSaying(ReasonRate, func(a *attempt) (seen, wanted string) {
		return a.client.String(), a.policy.addressRate.rate.words()
	})
}

func (a *attempt) isKnown() bool {
	if a.creds.ticket {
		return a.ticket.read.OK
	}
	own, ok := a.policy.verifier.(ownVerifier)
	return ok && a.creds.text != "" && own.known(a.creds.text)
}

// checkKnownToken gives a token that passes its address by the rate of an address
// to itself: the address is charged nothing, and whoever has an account could get
// it banned on purpose to knock without a limit.
func (a *attempt) checkKnownToken() error {
	rule := &a.policy.addressRate
	adm := newAdmission()
	defer adm.free()
	adm.admit(store.Admit{Key: store.Custom(knownTokens, a.creds.name()), Bucket: rule.bucket, Rate: store.Rate(rule.rate), N: 1})
	if err := adm.do(a); err != nil {
		return err
	}
	v := &adm.admits[0].Verdict
	if v.Refused == store.None {
		return nil
	}
	a.retryAfter = v.RetryAfter
	return a.refuse(ReasonRate, "a known token of an address that is banned or over its rate", "fewer handshakes")
}

// returnAddressTokens gives back what one tier took when another refused.
func (a *attempt) returnAddressTokens(admits []store.Admit) {
	for i := range admits {
		if admits[i].Err == nil && admits[i].Verdict.Refused == store.None {
			back := admits[i]
			back.N = -1
			a.quietly(&back)
		}
	}
}
