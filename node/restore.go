package node

import (
	"fmt"
	"io"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/identity"
	"github.com/kilonova/kilonova/raftfsm"
)

// Restore makes a new cluster, with this machine as its first node, out of a backup of another one, in an empty data directory. It returns
// what the backup was of, and where clouds.yaml is. Nothing is made when the backup is damaged, no backup, or of a newer build.
//
// The cluster has another ID, another authority and other keys: whatever is left of the former one, on machines that come back or in the
// hands of users, is a stranger to it. Its nodes are not members, and instances are not placed before an operator confirms that the former
// cluster runs nothing any more.
func Restore(cfg Config, backup io.Reader) (head cluster.BackupHead, clouds string, err error) {
	head, state, err := cluster.ReadBackup(backup)
	if err != nil {
		return head, "", err
	}
	clouds, err = begin(cfg, refuseEnrolled, func(cfg raftfsm.Config, f founder) ([][]byte, error) {
		return restored(cfg, f, head, state)
	})
	return head, clouds, err
}

func refuseEnrolled(dir *dataDir, id enrolment, _ *Config) error {
	return fmt.Errorf("%s belongs to node %s of cluster %s: a backup is restored into an empty --data-dir", dir.path, id.Name, id.ClusterID)
}

// restored makes the state of a cluster out of a former one's.
func restored(cfg raftfsm.Config, f founder, head cluster.BackupHead, state *cluster.State) ([][]byte, error) {
	at := max(cluster.At(f.now), state.View().Time())
	secrets, err := newSecrets(f.authority, at)
	if err != nil {
		return nil, err
	}
	founders, err := identity.Seed(f.password, at)
	if err != nil {
		return nil, err
	}
	first := cluster.Command{Time: at, Op: &cluster.RestoreCluster{
		From: head.ClusterID, Authority: secrets, Node: f.node, Project: founders.Project, Admin: founders.Admin,
	}}
	return secrets.GossipKeys, raftfsm.Restore(cfg, state, first)
}
