package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kilonova/kilonova/e2e/cloud"
)

// revokedWithin is how soon every node refuses a token that was revoked at one of them.
const revokedWithin = 5 * time.Second

// A token works at every node. It is revoked through one of them, and all refuse it within 5 seconds; another token of the
// same user goes on working.
func TestSecurity_ARevokedTokenIsRefusedEverywhere(t *testing.T) {
	t.Parallel()
	s := newSimStage(t, 3)
	other, err := s.Login(s.ctx, s.Nodes[1])
	s.must(err)
	for i, via := range s.Nodes {
		token := s.token(via, other)
		for _, n := range s.Nodes {
			s.eventually("the token works at "+n.Name(), activeLimit, func() error { return s.answers(n, token, http.StatusOK) })
		}
		a, err := s.Ask(s.ctx, via, cloud.Request{Method: http.MethodDelete, Path: "/identity/v3/auth/tokens", Token: other,
			Header: map[string]string{"X-Subject-Token": token}})
		s.must(errors.Join(err, a.Want(http.StatusNoContent)))
		began := time.Now()
		took := make([]time.Duration, len(s.Nodes))
		var all sync.WaitGroup
		for k, n := range s.Nodes {
			all.Go(func() {
				for s.answers(n, token, http.StatusUnauthorized) != nil && time.Since(began) < 2*revokedWithin {
					time.Sleep(time.Millisecond)
				}
				took[k] = time.Since(began)
			})
		}
		all.Wait()
		t.Logf("revoked through node%d, it was refused after %v", i+1, took)
		for k, d := range took {
			if d > revokedWithin {
				t.Errorf("%s took a token for %s after it was revoked through %s", s.Nodes[k].Name(), d, via.Name())
			}
		}
		for _, n := range s.Nodes {
			s.must(s.answers(n, other, http.StatusOK))
		}
	}
}

// token makes one more token of the administrator from nothing but the password.
func (s *stage) token(via *cloud.Node, not string) string {
	s.t.Helper()
	token := s.openstack(via, "token", "issue", "-f", "value", "-c", "id")
	if token = strings.TrimSpace(token); token == "" || token == not {
		s.t.Fatal("no new token was issued")
	}
	return token
}

// answers asks something that needs a token, and nothing else, and wants that status.
func (s *stage) answers(n *cloud.Node, token string, want int) error {
	a, err := s.Ask(s.ctx, n, cloud.Request{Path: "/compute/v2.1/flavors", Token: token})
	if err != nil {
		return err
	}
	if a.Status != want {
		return fmt.Errorf("%s answers %d, want %d", n.Name(), a.Status, want)
	}
	return nil
}
