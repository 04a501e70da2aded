package clusterapi

import (
	"encoding/hex"
	"net/http"
	"strings"

	"github.com/kilonova/kilonova/httpapi/rest"
)

// State is a digest of all that a node holds at one index, and what is wrong with it.
type State struct {
	Index  uint64   `json:"index"`
	Hash   string   `json:"hash"`   // SHA-256 of a snapshot: nodes that show different ones at one index have diverged
	Broken []string `json:"broken"` // promises of the state that do not hold, as cluster.View.Verify names them
}

// showState costs as much as writing and reading a snapshot. Asked for stale, each node tells of its own.
func (s *server) showState(r *http.Request) (any, error) {
	view, err := rest.View(r, s.Backend)
	if err != nil {
		return nil, err
	}
	hash := view.Hash()
	out := State{Index: view.Index(), Hash: hex.EncodeToString(hash[:]), Broken: []string{}}
	if err := view.Verify(); err != nil {
		out.Broken = strings.Split(err.Error(), "\n")
	}
	return map[string]any{"state": out}, nil
}
