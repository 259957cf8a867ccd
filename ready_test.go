package wssecure_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wssecure/wssecure"
	"github.com/wssecure/wssecure/wssecuretest"
)

// S-29: Ready says why traffic should go elsewhere, and changes nothing for those
// who are here.
func TestReadyNamesWhy(t *testing.T) {
	t.Run("S-29 draining", func(t *testing.T) {
		inTime(t, wssecuretest.Echo, func(t *testing.T, s *timed) {
			if err := s.guard.Ready(context.Background()); err != nil {
				t.Errorf("Ready: %v, want nil", err)
			}
			p := listen(s.open(s.issuer.Token("alice")), true)
			synctest.Wait()
			start := time.Now()
			go s.guard.Shutdown(context.Background())
			synctest.Wait()
			if err := s.guard.Ready(context.Background()); err == nil || !strings.Contains(err.Error(), "draining") {
				t.Errorf("Ready: %v, want that it drains", err)
			}
			p.wantEnd(t, start, 1012, "restart", 0, 30*time.Second)
		})
	})
	t.Run("S-29 keys never loaded", func(t *testing.T) {
		g, err := wssecure.New(wssecure.AllowOrigins(wssecuretest.Origin),
			wssecure.RequireToken(wssecure.JWKS("https://127.0.0.1:1/keys", "https://id.example", "chat")))
		if err != nil {
			t.Fatal(err)
		}
		if err := g.Ready(context.Background()); err == nil || !strings.Contains(err.Error(), "127.0.0.1:1") {
			t.Errorf("Ready: %v, want whose keys have not come", err)
		}
		if err := g.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
}
