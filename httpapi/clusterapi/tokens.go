package clusterapi

import (
	"net/http"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/rest"
)

// The bounds of a join token.
const (
	defaultTokenLife = time.Hour
	maxTokenLife     = 30 * 24 * time.Hour
	maxTokenUses     = 1000
)

// Token is a join token without its secret.
type Token struct {
	ID      cluster.TokenID `json:"id"`
	Uses    int             `json:"uses"`
	Zone    string          `json:"zone,omitempty"`
	Created time.Time       `json:"created"`
	Expires time.Time       `json:"expires"`
	Text    string          `json:"token,omitempty"` // only in the answer to its making
}

func renderToken(t *cluster.JoinToken) Token {
	return Token{ID: t.ID, Uses: t.Uses, Zone: t.Zone, Created: t.Created.Std(), Expires: t.Expires.Std()}
}

// tokenRequest asks for a join token. The zero values mean one use and an hour.
type tokenRequest struct {
	Uses int    `json:"uses"`
	TTL  string `json:"ttl"`
	Zone string `json:"zone"`
}

func (s *server) listTokens(r *http.Request) (any, error) {
	view, err := rest.View(r, s.Backend)
	if err != nil {
		return nil, err
	}
	out := []Token{}
	for t := range view.JoinTokens() {
		out = append(out, renderToken(t))
	}
	return map[string]any{"tokens": out}, nil
}

func (s *server) createToken(r *http.Request) (any, error) {
	req, err := rest.DecodeStrict[tokenRequest](r)
	if err != nil {
		return nil, err
	}
	life := defaultTokenLife
	if req.TTL != "" {
		if life, err = time.ParseDuration(req.TTL); err != nil {
			return nil, cluster.Errorf(cluster.Invalid, "ttl %q is not a duration such as 30m or 24h.", req.TTL)
		}
	}
	if req.Uses == 0 {
		req.Uses = 1
	}
	if req.Uses < 1 || req.Uses > maxTokenUses || life <= 0 || life > maxTokenLife {
		return nil, cluster.Errorf(cluster.Invalid, "A join token is for 1 to %d machines and lasts up to %s.", maxTokenUses, maxTokenLife)
	}
	text, token, err := s.Minter.Mint(r.Context(), req.Uses, life, req.Zone)
	if err != nil {
		return nil, err
	}
	out := renderToken(&token)
	out.Text = text
	return out, nil
}

func (s *server) deleteToken(r *http.Request) (any, error) {
	_, err := rest.Change(r, s.Backend, &cluster.DeleteJoinToken{ID: cluster.TokenID(chi.URLParam(r, "token"))})
	return nil, err
}
