package node

import (
	"fmt"

	"github.com/kilonova/kilonova/cluster"
)

// bearWitness makes the settings those of a witness: it wants a vote, and needs no hypervisor.
func (c *Config) bearWitness() error {
	if c.Voter == cluster.VoterNever {
		return fmt.Errorf("--voter never and --witness contradict each other: a witness is there to vote")
	}
	if c.SharedDir != "" || len(c.Bridges) > 0 {
		return fmt.Errorf("--shared-dir and --bridge are for guests, and a --witness has none")
	}
	c.Voter = cluster.VoterPrefer
	c.Hypervisor = Hypervisor{Driver: "sim", VirtType: "auto", Sim: SimHost{VCPUs: 1, MemoryMiB: 1, DiskGiB: 1}}
	return nil
}

// sameRole refuses to make a witness of a hypervisor that may have guests, and to look for guests where there never were any.
func sameRole(id enrolment, cfg *Config) error {
	if cfg.Witness && !id.Witness {
		return fmt.Errorf("this node is enrolled as a hypervisor, not as a --witness: drain and remove it, and join with an empty --data-dir")
	}
	return nil
}
