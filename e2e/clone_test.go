package e2e

import (
	"path/filepath"
	"testing"

	"github.com/kilonova/kilonova/e2e/cloud"
)

// A node's data directory is copied to another machine, as when a virtual machine is cloned. The copy does not run there: neither as
// it is, nor under the machine's own address, nor when somebody edits the address in it. The original, and the cluster, have not
// noticed.
func TestClone_TwoNodesWithOneIdentityDoNotRun(t *testing.T) {
	t.Parallel()
	s := newSimStage(t, 3)
	original, clone := s.Nodes[2], s.host()
	before := s.kilonova(s.Nodes[0], "node", "show", original.Name())
	s.must(original.Daemon.Kill())
	s.copyData(original, clone)
	s.must(original.Start(s.ctx))

	s.must(clone.StartDaemon())
	s.ends(clone, "is enrolled with --bind "+original.Host.Address())
	identity := filepath.Join(clone.Host.DataDir(), "node.json")
	_, err := clone.Host.Run(s.ctx, "sed", "-i", "s/"+original.Host.Address()+"/"+clone.Host.Address()+"/", identity)
	s.must(err)
	s.must(clone.StartDaemon())
	s.ends(clone, "cannot be copied to another machine")

	s.must(s.WaitVoters(s.ctx, 3))
	if after := s.kilonova(s.Nodes[0], "node", "show", original.Name()); after != before {
		t.Errorf("the original was\n%s and is\n%s", before, after)
	}
}

// copyData copies the data directory of a node whose daemon is down.
func (s *stage) copyData(from, to *cloud.Node) {
	s.t.Helper()
	source, err := from.Host.Path(from.Host.DataDir())
	s.must(err)
	target, err := to.Host.Path(to.Host.DataDir())
	s.must(err)
	if out, err := runHere(s.ctx, "cp", "-a", source+"/.", target); err != nil {
		s.t.Fatalf("copy data: %v: %s", err, out)
	}
}
