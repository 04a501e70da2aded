package cluster

// State is the replicated state machine. It has one writer; readers use the View that View returns.
type State struct {
	t tables
}

// NewState returns the state before the first command.
func NewState() *State { return &State{} }

// View publishes an immutable picture of the state. It costs the same whatever the state holds.
func (s *State) View() *View { return &View{t: s.t.copy()} }
