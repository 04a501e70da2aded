package cluster

// RestoreCluster makes a new cluster of the state of another one, which a backup kept. It is the first command of the new cluster's log, after
// the state. The nodes of the former cluster are removed; what they had alone is lost with them. Nothing is placed before ConfirmRestore.
//
// The new cluster has an ID, an authority and keys of its own: should the former one still be there, the two have nothing to say to each
// other, tokens of the one are none of the other, and domains of the one are strangers to the other.
type RestoreCluster struct {
	From      string    `json:"from"` // ID of the former cluster
	Authority Authority `json:"authority"`
	Node      Node      `json:"node"`    // the first one
	Project   Project   `json:"project"` // made when there is none of that name
	Admin     User      `json:"admin"`   // gets its password, and every right; made when there is none of that name
}

// ConfirmRestore is an operator's word that the former cluster runs nothing any more: from now on instances are placed again. Conflict when
// the cluster was not restored, or that was said before.
type ConfirmRestore struct {
	By By `json:"by,omitzero"`
}

// Restoration is that a cluster was made of another one's backup.
type Restoration struct {
	From      string `json:"from"`  // ID of the former cluster
	Index     uint64 `json:"index"` // up to which it has the former cluster's history
	At        Time   `json:"at"`
	Confirmed Time   `json:"confirmed,omitempty"` // 0: nothing is placed yet
	By        UserID `json:"by,omitempty"`        // who confirmed it
}

// Held tells whether nothing is placed because the operator has not confirmed yet that the former cluster is gone.
func (r *Restoration) Held() bool { return r != nil && r.Confirmed == 0 }

// Restored says of what the cluster was made; nil: it was made anew.
func (v *View) Restored() *Restoration { return v.t.meta.Restored }

// RecoveryCommands is the version of the command set that has the commands about backups and recovery.
const RecoveryCommands uint32 = 4

// Kind of each op.
func (*RestoreCluster) Kind() Kind { return KindRestoreCluster }
func (*ConfirmRestore) Kind() Kind { return KindConfirmRestore }
