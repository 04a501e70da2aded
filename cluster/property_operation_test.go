package cluster

import (
	"pgregory.net/rapid"
)

// drawOperationOp gives a random op about what is done to instances in several steps.
func drawOperationOp(t *rapid.T, v *View) Op {
	in, ok := v.Instance(InstanceID(pick(t, "instance", "a", "b", "c", "d", "e")))
	if !ok {
		in = &Instance{ID: "a"}
	}
	by := By{Request: "req-op", User: root, Project: home}
	if in.Op != nil && rapid.IntRange(0, 3).Draw(t, "go on") != 0 {
		return drawProgress(t, v, in, by)
	}
	id := OperationID(pick(t, "operation", "o1", "o2", "o3"))
	switch rapid.IntRange(0, 9).Draw(t, "op") {
	case 0:
		return &RebuildInstance{ID: in.ID, By: by, Image: disk}
	case 1:
		return &RescueInstance{ID: in.ID, By: by, End: rapid.Bool().Draw(t, "end")}
	case 2, 3:
		f := someFlavor()
		f.ID, f.Name, f.VCPUs = "2", "large", rapid.Int64Range(1, 6).Draw(t, "vcpus")
		return &BeginMove{ID: in.ID, By: by, Operation: id, What: OpResize, Flavor: &f}
	case 4:
		return &BeginMove{ID: in.ID, By: by, Operation: id, What: pick(t, "what", OpMigrate, OpLive, OpEvacuate)}
	case 5:
		return &BeginCapture{ID: in.ID, By: by, Operation: id, What: pick(t, "what", OpSnapshot, OpBackup, OpShelve),
			Image: Image{ID: ImageID(pick(t, "image", "i1", "i2")), Owner: home, Name: "i", Visibility: Private}, Rotation: 1}
	case 6:
		return &UnshelveInstance{ID: in.ID, By: by}
	case 7:
		return &ResetInstance{ID: in.ID, By: by, State: pick(t, "state", VMActive, VMError)}
	case 8:
		if rapid.Bool().Draw(t, "detach") && len(in.Ports) > 0 {
			return &DetachPort{ID: in.ID, By: by, Port: in.Ports[0]}
		}
		return &AttachPort{ID: in.ID, By: by, Port: NewPort{Existing: pick(t, "existing", PortID("p1"), "p2", "p3")}}
	}
	if rapid.Bool().Draw(t, "restore") {
		return &RestoreInstance{ID: in.ID, By: by}
	}
	return &DeleteInstance{ID: in.ID, Reclaim: v.Time() + 1<<40}
}

// drawProgress lets the operation of an instance go on, or fail.
func drawProgress(t *rapid.T, v *View, in *Instance, by By) Op {
	op := in.Op
	if rapid.IntRange(0, 7).Draw(t, "its node is given up") == 0 {
		return &BeginMove{ID: in.ID, By: by, Operation: OperationID(pick(t, "operation", "o4", "o5")), What: OpEvacuate}
	}
	switch op.Step {
	case StepPlacing:
		return &PlaceMove{ID: in.ID, Operation: op.ID, Node: pick(t, "to", NodeID(""), first, "n2", "n3"), Answers: rapid.Bool().Draw(t, "answers")}
	case StepWaiting:
		return &EndMove{ID: in.ID, By: by, Revert: rapid.Bool().Draw(t, "revert")}
	case StepStopping, StepFinishing, StepReverting:
		return &ReportInstances{Node: in.Node, Reports: []InstanceReport{{
			ID: in.ID, Generation: in.Generation, Epoch: in.Epoch, Boot: in.Boot,
			Power: pick(t, "power", PowerRunning, PowerShutdown, PowerPaused),
			Error: pick(t, "error", "", "", "broken"),
		}}}
	case StepCapturing:
		if img, ok := v.Image(op.Capture.Image); ok && rapid.Bool().Draw(t, "complete") {
			i := img.Clone()
			i.Status, i.Data = ImageActive, &ImageData{Root: Hash{7}, Size: 1, Nodes: []NodeID{in.Node}}
			return &PutImage{Image: *i}
		}
	}
	if op.Kind == OpLive && rapid.IntRange(0, 4).Draw(t, "signal") == 0 {
		return &SignalMove{ID: in.ID, By: by, Operation: op.ID, Signal: pick(t, "which", SignalAbort, SignalForce)}
	}
	return &AdvanceOperation{Node: in.Executor(), ID: in.ID, Operation: op.ID, Step: op.Step,
		Done: rapid.IntRange(0, 2).Draw(t, "done") != 0, Error: pick(t, "error", "", "broken"), Cancelled: rapid.Bool().Draw(t, "cancelled"),
		Anew: rapid.Bool().Draw(t, "anew")}
}

// moveRoom is what a move holds on the node that its instance is not on, counted without the help of the state.
func moveRoom(in *Instance) (NodeID, Resources) {
	if in.Op == nil || in.Op.Move == nil || in.Wanted == WantDeleted {
		return "", Resources{}
	}
	m := in.Op.Move
	switch {
	case in.Op.Step == StepAsking && m.From != "":
		return m.To, m.Flavor.Resources()
	case in.Op.Step == StepAsking, in.Op.Kind == OpEvacuate || in.Op.Step == StepReverting:
		return "", Resources{}
	case in.Op.Step == StepFinishing || in.Op.Step == StepWaiting:
		return m.From, m.Was.Resources()
	}
	return m.To, m.Flavor.Resources()
}

// chargedFor is what an instance counts for in quotas, counted without the help of the state: what it may end with.
func chargedFor(in *Instance) Resources {
	all := []Resources{in.Spec.Flavor.Resources()}
	if in.Op != nil && in.Op.Move != nil {
		all = append(all, in.Op.Move.Was.Resources(), in.Op.Move.Flavor.Resources())
	}
	var most Resources
	for _, r := range all {
		most = Resources{max(most.VCPUs, r.VCPUs), max(most.MemoryMiB, r.MemoryMiB), max(most.DiskGiB, r.DiskGiB)}
	}
	return most
}
