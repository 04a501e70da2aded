package cluster

import "time"

// ConsoleKind is a kind of console that a guest has. Its words are those of Nova's API.
type ConsoleKind string

// The consoles that are offered.
const (
	ConsoleNoVNC  ConsoleKind = "novnc"  // the screen, for noVNC: RFB in a websocket
	ConsoleSerial ConsoleKind = "serial" // the first serial port, in a websocket
)

// ConsoleToken lets its holder connect once to a console of an instance, at any node. The token itself is not in the state, only
// its hash: who reads a snapshot cannot use it.
type ConsoleToken struct {
	Hash     Hash        `json:"hash"` // SHA-256 of the token, which is random: a slow hash would add nothing
	Instance InstanceID  `json:"instance"`
	Epoch    uint64      `json:"epoch"` // of the instance: a token does not follow it to another node
	Kind     ConsoleKind `json:"kind"`
	Project  ProjectID   `json:"project,omitempty"` // that the asker acted in; "": in the whole system
	User     UserID      `json:"user"`
	Asked    TokenID     `json:"asked,omitempty"` // the API token that it was asked for with
	Created  Time        `json:"created"`
	Expires  Time        `json:"expires"`
	Used     bool        `json:"used,omitempty"` // a session is, or was, open with it
}

// Bounds of console tokens.
const (
	// MaxConsoleLife is the longest life that a console token may have.
	MaxConsoleLife = 24 * time.Hour

	// maxConsoleTokens is how many of an instance's are kept. A new one takes the place of the oldest, whose session ends if it is
	// still open.
	maxConsoleTokens = 128
)

// AddConsoleToken makes a console token. The instance has to be on a node (Conflict).
type AddConsoleToken struct {
	Token ConsoleToken  `json:"token"` // Epoch, Created, Expires and Used are filled in
	Life  time.Duration `json:"life"`
}

// UseConsoleToken uses a token up: of all who try, at whatever nodes, one is told that it is theirs. Unauthorized when there is
// no such token (any more) or it was used; Forbidden when who asked for it may not look at the console any more.
type UseConsoleToken struct {
	Hash Hash `json:"hash"`
}

// RecordAction records something that was done inside an instance, at once and as a whole, among its actions. Conflict while
// something else is under way.
type RecordAction struct {
	Instance InstanceID `json:"instance"`
	Request  string     `json:"request"`
	Project  ProjectID  `json:"project,omitempty"`
	User     UserID     `json:"user"`
	Action   string     `json:"action"`            // Nova's name, e.g. changePassword
	Event    string     `json:"event"`             // Nova's name of the step, e.g. compute_set_admin_password
	Failure  string     `json:"failure,omitempty"` // why it failed; "": it succeeded
}

// Kind of each op.
func (*RecordAction) Kind() Kind    { return KindRecordAction }
func (*AddConsoleToken) Kind() Kind { return KindAddConsoleToken }
func (*UseConsoleToken) Kind() Kind { return KindUseConsoleToken }
