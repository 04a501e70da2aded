package cluster

// volumes checks that volumes, snapshots, nodes and instances agree.
func (c *verifier) volumes() {
	t := &c.v.t
	for v := range values(&t.volumes) {
		if _, ok := t.nodes.Get(v.File.Node); v.File.Node != "" && !ok {
			c.fail("volume %s is on node %s, which is not there", v.ID, v.File.Node)
		}
		if len(v.Attachments) > 1 && !v.Traits.Multiattach {
			c.fail("volume %s has %d attachments and is not for several instances", v.ID, len(v.Attachments))
		}
		if v.File.SizeGiB > v.SizeGiB {
			c.fail("volume %s has a file of %d GiB and is to have %d", v.ID, v.File.SizeGiB, v.SizeGiB)
		}
		if v.File.Remove && len(v.Attachments) > 0 {
			c.fail("volume %s is to be removed and is attached", v.ID)
		}
		seen := map[InstanceID]bool{}
		for _, a := range v.Attachments {
			in, live := t.instances.Get(a.Instance)
			if seen[a.Instance] {
				c.fail("volume %s is attached to instance %s twice", v.ID, a.Instance)
			}
			seen[a.Instance] = true
			if !live && !c.buried(a.Instance) {
				c.fail("volume %s is attached to instance %s, which is not there", v.ID, a.Instance)
			}
			if live && !v.Shared() && v.File.Node != "" && in.Node != "" && in.Node != v.File.Node && v.Fault == "" {
				c.fail("volume %s is on node %s, and instance %s, which has it, on %s", v.ID, v.File.Node, in.ID, in.Node)
			}
		}
	}
	for n := range values(&t.snapshots) {
		if _, ok := t.nodes.Get(n.File.Node); n.File.Node != "" && !ok {
			c.fail("snapshot %s is on node %s, which is not there", n.ID, n.File.Node)
		}
	}
}

// buried tells whether a tombstone of an instance is left.
func (c *verifier) buried(id InstanceID) bool {
	for n := range c.v.Nodes() {
		if _, ok := c.v.Tombstone(n.ID, id); ok {
			return true
		}
	}
	return false
}

// volumeIndexes compares the volume service's indexes with what the records give.
func (c *verifier) volumeIndexes(t, again *tables) {
	sameTable(c, "volumes of projects", &t.volumesIn, &again.volumesIn)
	sameTable(c, "volumes on nodes", &t.volumesOn, &again.volumesOn)
	sameTable(c, "volumes of instances", &t.volumesOf, &again.volumesOf)
	sameTable(c, "volumes that guests get or lose", &t.moving, &again.moving)
	sameTable(c, "snapshots of projects", &t.snapshotsIn, &again.snapshotsIn)
	sameTable(c, "snapshots on nodes", &t.snapshotsOn, &again.snapshotsOn)
	sameTable(c, "snapshots of volumes", &t.snapshotsOf, &again.snapshotsOf)
	sameTable(c, "volume types by name", &t.typeByName, &again.typeByName)
}
