package cluster

import "fmt"

// Apply applies the commands of one log entry, in their order, and gives one result for each. Index is the
// entry's and must be higher than that of every entry before.
//
// A refusal is in the result. An error means that the entry cannot be applied by this build (ErrUnknownCommand)
// or was applied before (ErrCorrupt): the replica must stop, and its State must not be used any more.
//
// The State keeps what the commands point to: do not change it afterwards.
func (s *State) Apply(index uint64, commands []Command) ([]Result, error) {
	if index <= s.t.meta.Index {
		return nil, fmt.Errorf("apply entry %d: %w: the state is at %d", index, ErrCorrupt, s.t.meta.Index)
	}
	// Advance the index even when every command is refused, or its proposer would wait for ever.
	s.t.meta.Index = index
	results := make([]Result, len(commands))
	for i := range commands {
		r, err := s.applyCommand(&commands[i])
		if err != nil {
			return nil, fmt.Errorf("apply entry %d: %w", index, err)
		}
		results[i] = r
	}
	return results, nil
}

func (s *State) applyCommand(c *Command) (Result, error) {
	s.t.meta.Time = max(s.t.meta.Time, c.Time) // a proposer's clock that is behind does not turn time back
	s.forget()
	if err := checkRequestID(c.ID); err != nil {
		return Result{Index: s.t.meta.Index, Err: err}, nil
	}
	if o, ok := s.t.requests.Get(c.ID); ok && c.ID != "" {
		return s.repeated(o, c), nil
	}
	var ids []string
	var refusal *Error
	known := false
	for _, part := range applyParts {
		if ids, refusal, known = part(s, c.Op); known {
			break
		}
	}
	if !known {
		return Result{}, fmt.Errorf("%w: %T", ErrUnknownCommand, c.Op)
	}
	if refusal != nil {
		ids = nil
	}
	r := Result{Index: s.t.meta.Index, Err: refusal, IDs: ids}
	// A refusal is the request's answer and is remembered like any other. Stale is not: it asks the proposer
	// to read again and to repeat the same request, which must then have its chance.
	if c.ID != "" && (refusal == nil || refusal.Code != Stale) {
		s.putRequest(&outcome{ID: c.ID, Digest: c.Digest, Time: s.t.meta.Time, Result: r})
	}
	return r, nil
}

// isOf tells whether it may be the outcome of a request with a digest. Without one, requests are told apart by their IDs alone.
func (o *outcome) isOf(digest Hash) bool {
	return o.Digest == digest || o.Digest.IsZero() || digest.IsZero()
}

// repeated answers a request that was applied before.
func (s *State) repeated(o *outcome, c *Command) Result {
	if !o.isOf(c.Digest) {
		return Result{Index: s.t.meta.Index, Err: Errorf(Conflict, "The Idempotency-Key was used for another request already")}
	}
	return o.Result
}

func checkRequestID(id RequestID) *Error {
	if len(id) > maxText {
		return Errorf(Invalid, "The request ID is longer than %d bytes", maxText)
	}
	return checkText("The request ID", string(id))
}

// forget drops what has been remembered for long enough. It runs before each command, so what a command finds
// does not depend on how commands were put together into entries.
func (s *State) forget() {
	now := s.t.meta.Time
	for {
		_, id, ok := s.t.requestByTime.Min()
		if !ok {
			break
		}
		o, _ := s.t.requests.Get(id)
		if s.t.requests.Len() < MaxRequests && o.Time.Add(RequestMemory) >= now {
			break
		}
		s.dropRequest(o)
	}
	for {
		_, in, ok := s.t.deleted.Min()
		if !ok || s.t.deleted.Len() <= MaxDeleted && in.Times.Terminated.Add(DeletedMemory) >= now {
			break
		}
		s.dropDeleted(in)
	}
}

// applyParts are the one switch over every op, part by part for its length.
var applyParts = [...]func(s *State, op Op) (ids []string, refusal *Error, known bool){
	(*State).applyClusterOp,
	(*State).applyResourceOp,
	(*State).applyOperationOp,
	(*State).applyVolumeOp,
	(*State).applyConsoleOp,
	(*State).applyGroupOp,
	(*State).applyLeaseOp,
	(*State).applyReplicaOp,
	(*State).applyKeysOp,
	(*State).applyRecoveryOp,
	(*State).applyRelocateOp,
}

func (s *State) applyClusterOp(op Op) (ids []string, refusal *Error, known bool) {
	known = true
	switch o := op.(type) {
	case *InitCluster:
		ids, refusal = s.initCluster(o)
	case *PutAuthority:
		ids, refusal = s.replaceAuthority(o)
	case *PutJoinToken:
		ids, refusal = s.addJoinToken(o)
	case *DeleteJoinToken:
		ids, refusal = s.deleteJoinToken(o)
	case *EnrolNode:
		ids, refusal = s.enrolNode(o)
	case *UpdateNode:
		ids, refusal = s.updateNode(o)
	case *SetNodeService:
		ids, refusal = s.setNodeService(o)
	case *RemoveNode:
		ids, refusal = s.removeNode(o)
	case *PutProject:
		ids, refusal = s.saveProject(o)
	case *DeleteProject:
		ids, refusal = s.deleteProject(o)
	case *PutUser:
		ids, refusal = s.saveUser(o)
	case *DeleteUser:
		ids, refusal = s.deleteUser(o)
	case *PutRole:
		ids, refusal = s.saveRole(o)
	case *DeleteRole:
		ids, refusal = s.deleteRole(o)
	case *PutAssignment:
		ids, refusal = s.giveRole(o)
	case *DeleteAssignment:
		ids, refusal = s.takeRole(o)
	case *PutCredential:
		ids, refusal = s.saveCredential(o)
	case *DeleteCredential:
		ids, refusal = s.deleteCredential(o)
	case *RevokeToken:
		ids, refusal = s.revokeToken(o)
	default:
		known = false
	}
	return ids, refusal, known
}

func (s *State) applyResourceOp(op Op) (ids []string, refusal *Error, known bool) {
	known = true
	switch o := op.(type) {
	case *PutImage:
		ids, refusal = s.saveImage(o)
	case *DeleteImage:
		ids, refusal = s.deleteImage(o)
	case *AddImageNode:
		ids, refusal = s.addImageNode(o)
	case *PutFlavor:
		ids, refusal = s.saveFlavor(o)
	case *DeleteFlavor:
		ids, refusal = s.deleteFlavor(o)
	case *CreateKeyPair:
		ids, refusal = s.createKeyPair(o)
	case *DeleteKeyPair:
		ids, refusal = s.deleteKeyPair(o)
	case *PutNetwork:
		ids, refusal = s.saveNetwork(o)
	case *DeleteNetwork:
		ids, refusal = s.deleteNetwork(o)
	case *PutSubnet:
		ids, refusal = s.saveSubnet(o)
	case *DeleteSubnet:
		ids, refusal = s.deleteSubnet(o)
	case *PutPort:
		ids, refusal = s.savePort(o)
	case *DeletePort:
		ids, refusal = s.deletePort(o)
	case *PutQuota:
		ids, refusal = s.saveQuota(o)
	case *DeleteQuota:
		ids, refusal = s.deleteQuota(o)
	case *CreateInstances:
		ids, refusal = s.createInstances(o)
	case *PlaceInstance:
		ids, refusal = s.placeInstance(o)
	case *UpdateInstance:
		ids, refusal = s.updateInstance(o)
	case *SetPower:
		ids, refusal = s.setPower(o)
	case *DeleteInstance:
		ids, refusal = s.deleteInstance(o)
	case *ReportInstances:
		ids, refusal = s.reportInstances(o)
	case *ForgetInstance:
		ids, refusal = s.forgetInstance(o)
	default:
		known = false
	}
	return ids, refusal, known
}
