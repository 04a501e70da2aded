package clusterapi

import (
	"fmt"
	"net/http"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/rest"
)

// backupType is the media type of a backup.
const backupType = "application/octet-stream"

// backup streams the state. Only the socket serves it: a backup holds the key of the cluster's authority, and whoever has that is root on
// every node, which an administrator of the cloud is not.
func (s *server) backup(w http.ResponseWriter, r *http.Request) {
	view, err := rest.View(r, s.Backend)
	if err == nil && view.Authority() == nil {
		err = cluster.Errorf(cluster.Unavailable, "This node has not caught up with the cluster yet.")
	}
	if err != nil {
		rest.NovaErrors.Fail(w, r, err)
		return
	}
	w.Header().Set("Content-Type", backupType)
	w.Header().Set("Content-Disposition", fmt.Sprintf("attachment; filename=%q", "kilonova-"+view.Authority().ClusterID+".backup"))
	if _, err := view.WriteBackup(w, s.Version, cluster.At(time.Now())); err != nil {
		// The status is gone already. Cutting the connection tells the client that this is not the end.
		panic(http.ErrAbortHandler)
	}
}

// Restoration is that the cluster was made of another one's backup.
type Restoration struct {
	From      string    `json:"from"` // ID of the former cluster
	At        time.Time `json:"at"`
	Confirmed bool      `json:"confirmed"` // else nothing is placed
}

func restoration(r *cluster.Restoration) *Restoration {
	if r == nil {
		return nil
	}
	return &Restoration{From: r.From, At: r.At.Std(), Confirmed: !r.Held()}
}

// confirmRestore takes the operator's word that the cluster which this one was restored from runs nothing any more.
func (s *server) confirmRestore(r *http.Request) (any, error) {
	view, err := rest.View(r, s.Backend)
	if err != nil {
		return nil, err
	}
	if !view.AllKnow(cluster.RecoveryCommands) {
		return nil, cluster.Errorf(cluster.Conflict, "Not every node knows how to do that yet: upgrade those that are older first.")
	}
	_, err = rest.Change(r, s.Backend, &cluster.ConfirmRestore{By: s.by(r)})
	return nil, err
}
