package peer

import (
	"context"
	"errors"
	"io"
	"log/slog"

	"github.com/kilonova/kilonova/cluster"
)

// ErrNotLeader says that the node asked does not lead; nothing was changed.
var ErrNotLeader = errors.New("this node is not the leader")

// Services is what a node does for its peers.
type Services struct {
	Agreement Agreement
	Blobs     Blobs
	Consoles  Consoles
	Inside    Inside
	Disks     DiskSource
	Landings  Landings
	Replicas  Replicas
	Survivor  Survivor
	Log       *slog.Logger
}

// Agreement serves what only the leader can.
type Agreement interface {
	// ProposeHere commits a command if this node leads, else ErrNotLeader.
	ProposeHere(ctx context.Context, c cluster.Command) (cluster.Result, error)

	// BarrierHere returns an index that holds everything acknowledged before the call, if this node leads.
	BarrierHere(ctx context.Context) (uint64, error)

	// RenewHere grants a lease to a node that asks now, if this node leads.
	RenewHere(ctx context.Context, node cluster.NodeID) (cluster.Grant, error)
}

// Blobs serves the chunks of images.
type Blobs interface {
	// Chunk opens a chunk that this node has; code NotFound when it has not.
	Chunk(ctx context.Context, h cluster.Hash) (io.ReadCloser, error)

	// Pull fetches the whole blob from the nodes named, and returns when every chunk is here and safe on disk.
	Pull(ctx context.Context, root cluster.Hash, from []cluster.NodeID) error
}

// Consoles serves the console logs of this node's guests.
type Consoles interface {
	// Console opens what the guest wrote to its serial port; at most the last max bytes.
	Console(ctx context.Context, id cluster.InstanceID, max int64) (io.ReadCloser, error)
}

// Enroller admits machines that hold a join token.
type Enroller interface {
	Enrol(ctx context.Context, r JoinRequest) (JoinResponse, error)
}

// Registrar knows who was taken out of the cluster, and where the others are.
type Registrar interface {
	// Standing is a node's, as far as this node has heard. It needs no leader.
	Standing(id cluster.NodeID) Standing
}

// Standing is the answer to a node that is let in nowhere, or found by nobody, and asks why.
type Standing struct {
	Removed  bool   `json:"removed"`
	Address  string `json:"address,omitempty"`  // IP; "": the node asked does not know it, or is of an older version
	Revision uint64 `json:"revision,omitempty"` // of the record that says so
}

// JoinRequest is what a joining machine says.
type JoinRequest struct {
	Token    cluster.TokenID `json:"token"`
	Secret   []byte          `json:"secret"`
	Node     cluster.Node    `json:"node"`
	PeerCSR  []byte          `json:"peer_csr"` // PKCS#10, DER
	APICSR   []byte          `json:"api_csr"`
	Commands uint32          `json:"commands"` // newest command version that it knows
}

// JoinResponse is what it needs to be a member.
type JoinResponse struct {
	ClusterID  string       `json:"cluster_id"`
	CACert     []byte       `json:"ca_cert"`             // DER, of the authority that signed the certificates
	OtherCAs   [][]byte     `json:"other_cas,omitempty"` // DER, of others that are trusted at the moment
	PeerCert   []byte       `json:"peer_cert"`
	APICert    []byte       `json:"api_cert"`
	GossipKeys [][]byte     `json:"gossip_keys"`
	Peers      []Address    `json:"peers"`
	Node       cluster.Node `json:"node"` // as the cluster recorded it
}

// Address is where a node is.
type Address struct {
	Node    cluster.NodeID `json:"node"`
	Address string         `json:"address"` // IP
}
