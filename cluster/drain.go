package cluster

// WayOut says how the instance can be taken off its node without its users' help: by which kind of move, or, with an empty
// kind, why it cannot be right now.
func (i *Instance) WayOut() (kind OperationKind, why string) {
	switch {
	case i.Wanted == WantDeleted:
		return "", "it is being deleted"
	case i.Op != nil && i.Op.Step == StepWaiting:
		return "", "it was moved or resized to this node, and its user has neither confirmed nor reverted that"
	case i.Op != nil && i.Op.Move != nil:
		return "", "it is on its way"
	case i.Op != nil, i.Status.Task != TaskNone:
		return "", "something else is done to it"
	}
	switch i.Status.VM {
	case VMActive, VMPaused:
		return OpLive, ""
	case VMStopped:
		return OpMigrate, ""
	case VMSuspended:
		return "", "it is suspended: its memory is on this node's disk, so it has to be resumed first"
	case VMRescued:
		return "", "it is rescued, and has to be unrescued first"
	case VMError:
		return "", "it is in error, and somebody has to reset, rebuild or delete it"
	case VMSoftDeleted:
		return "", "it is deleted, and may be restored until it is reclaimed"
	}
	return "", "it is " + string(i.Status.VM)
}

// OnItsWay tells whether a move takes the instance somewhere else without anybody's help.
func (i *Instance) OnItsWay() bool {
	return i.Op != nil && i.Op.Move != nil && (i.Op.Step != StepWaiting || i.Op.Move.Drain)
}

// Leftover tells whether the instance has left a node and only its user's word is missing until its old disks go there.
func (i *Instance) Leftover(node NodeID) bool {
	return i.Op != nil && i.Op.Move != nil && i.Op.Step == StepWaiting && i.Op.Move.From == node && i.Node != node
}

// CameBack says why the instance is where it is, if the last that was done to it was to take it somewhere else and failed: no other node
// has room for it, say. It is empty for all others.
func (v *View) CameBack(id InstanceID) (why string) {
	var last *Action
	for a := range v.Actions(id) {
		last = a
	}
	if last == nil || last.Message == "" || (last.Kind != moves[OpLive].action && last.Kind != moves[OpMigrate].action) {
		return ""
	}
	if n := len(last.Events); n > 0 && last.Events[n-1].Details != "" {
		return last.Events[n-1].Details
	}
	return last.Message
}
