package audit

import (
	"context"
	"fmt"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/virt"
)

// Copy is the replica of a server's root disk on another host, as the cluster says it.
type Copy struct {
	Node    string
	State   cluster.ReplicaState
	Why     string
	DiskGiB int `json:"disk_gib"`
}

// Replicated tells whether the server asks for a replica of its root disk.
func (s *Server) Replicated() bool { return s.Metadata[cluster.KeyReplicas] == "2" && !s.OfVolume() }

// askCopies fills in the replicas of those that ask for one.
func askCopies(ctx context.Context, get func(ctx context.Context, path string, into any) error, servers []Server) error {
	for i := range servers {
		s := &servers[i]
		if !s.Replicated() {
			continue
		}
		var out struct{ Replica *Copy }
		if err := get(ctx, "/cluster/v1/instances/"+s.ID+"/replica", &out); err != nil {
			return err
		}
		s.Copy = out.Replica
	}
	return nil
}

// keepsCopy tells whether what a host holds of a server that is elsewhere is the server's replica, and nothing else.
func (s *Server) keepsCopy(host string, h *Held) bool {
	return s.Copy != nil && s.Copy.Node == host && s.Host != host && !h.Defined && len(h.Storage.Files) == 1 && h.Storage.Files[0].ID == virt.DiskRoot
}

// compareCopy says what is wrong with a server's replica; "": nothing. A server that runs has a current one, which was booted as often as its disk.
func (a *Account) compareCopy(s *Server, h *Held) string {
	if !s.Replicated() || s.Status != "ACTIVE" {
		return ""
	}
	switch {
	case s.Copy == nil:
		return "it has no copy"
	case s.Copy.State != cluster.ReplicaCurrent:
		return fmt.Sprintf("its copy on %s is %s: %s", s.Copy.Node, s.Copy.State, s.Copy.Why)
	}
	there := a.Hosts[s.Copy.Node][s.ID]
	if there == nil || !s.keepsCopy(s.Copy.Node, there) {
		return "its current copy is not on " + s.Copy.Node
	}
	if got, want := there.Storage.Files[0].Notes.Boots, h.Root().Notes.Boots; got != want {
		return fmt.Sprintf("its disk was booted %d times, and its current copy %d times", want, got)
	}
	return ""
}
