package wssecuretest_test

import (
	"testing"

	"github.com/wssecure/wssecure/wssecuretest"
)

func TestAttackOnAFixture(t *testing.T) {
	s := wssecuretest.NewFixture(t)
	wssecuretest.Attack(t, s.URL, s.AttackOptions())
}
