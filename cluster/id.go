package cluster

import (
	"encoding/hex"
	"fmt"
	"time"
)

// The identifiers of each noun. Instance, image, network, subnet, port and node IDs are UUIDs in lower-case
// canonical form; project, user, role and credential IDs are 32 hexadecimal digits, as Keystone's are. A
// flavor's ID is whatever text its creator chose.
type (
	NodeID       string
	InstanceID   string
	ImageID      string
	FlavorID     string
	NetworkID    string
	SubnetID     string
	PortID       string
	ProjectID    string
	UserID       string
	RoleID       string
	CredentialID string
	TokenID      string // audit ID of an API token, or the ID part of a join token
	OperationID  string // UUID of an operation on an instance; Nova's UUID of a migration
	RequestID    string // names one attempt to change something, the same over all its retries
)

// Time is nanoseconds since the Unix epoch, UTC. The zero Time means "never". It is an integer so that every
// replica encodes it alike.
type Time int64

// At converts a wall-clock time. The zero time.Time becomes the zero Time.
func At(t time.Time) Time {
	if t.IsZero() {
		return 0
	}
	return Time(t.UnixNano())
}

// Std gives the time in UTC; the zero Time becomes the zero time.Time.
func (t Time) Std() time.Time {
	if t == 0 {
		return time.Time{}
	}
	return time.Unix(0, int64(t)).UTC()
}

// Add returns t moved by d.
func (t Time) Add(d time.Duration) Time { return t + Time(d) }

// Sub returns the duration from u to t.
func (t Time) Sub(u Time) time.Duration { return time.Duration(t - u) }

// Hash is a SHA-256 digest.
type Hash [32]byte

// String gives the digest as 64 hexadecimal digits.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// IsZero tells whether the digest was never set.
func (h Hash) IsZero() bool { return h == Hash{} }

// MarshalBinary gives the 32 bytes, for encoders.
func (h Hash) MarshalBinary() ([]byte, error) { return h[:], nil }

// UnmarshalBinary takes exactly 32 bytes.
func (h *Hash) UnmarshalBinary(b []byte) error {
	if len(b) != len(h) {
		return fmt.Errorf("a digest has %d bytes, not %d", len(h), len(b))
	}
	copy(h[:], b)
	return nil
}
