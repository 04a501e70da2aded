package cluster

// State is the replicated state machine. It has one writer; readers use the View that View returns.
type State struct {
	t tables

	// pools remembers where to look for free addresses. It is worked out from the tables and never decides
	// what is found, only how fast.
	pools map[SubnetID]*subnetPools
}

// NewState returns the state before the first command.
func NewState() *State { return &State{pools: make(map[SubnetID]*subnetPools)} }

// View publishes an immutable picture of the state. It costs the same whatever the state holds.
func (s *State) View() *View { return &View{t: s.t.copy()} }
