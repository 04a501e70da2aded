package node

import (
	"log/slog"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/virt/volume"
)

// share looks after the directory for shared volumes that a node was given, if it was.
type share struct {
	store *volume.Store
	log   *slog.Logger
	said  string // what was last wrong with it
}

// look tells whether the directory can be used now, and what is wrong when it cannot. One of the cluster that this one was restored from
// becomes this one's as soon as an operator has said that the former is gone. It is for one goroutine.
func (s *share) look(now *cluster.View) (usable bool, trouble string) {
	if r := now.Restored(); r != nil && !r.Held() {
		if err := s.store.TakeOver(r.From); err != nil {
			s.log.Warn("take over the shared directory", "err", err)
		}
	}
	if err := s.store.ShareTrouble(); err != nil {
		trouble = err.Error()
	}
	if trouble != s.said {
		if s.said = trouble; trouble != "" {
			s.log.Error("the shared directory cannot be used", "err", trouble)
		} else {
			s.log.Info("the shared directory can be used")
		}
	}
	return s.store.Shares(), trouble
}
