package gossip

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/memberlist"
	"github.com/kilonova/kilonova/cluster"
)

// DefaultPort is the TCP and UDP port of gossip.
const DefaultPort = 7946

// KeySize is the length of a gossip key, for AES-256.
const KeySize = 32

// Timing is how patient a node is with its peers.
type Timing int

// The timings. LAN is for nodes with a round trip below some 100 ms. It is more patient than memberlist's own, because a busy
// machine answers late, and a wrong hint costs more than a late one. WAN is for anything slower.
const (
	LAN Timing = iota
	WAN
)

// Peer is a node that should be a member.
type Peer struct {
	ID   cluster.NodeID
	Addr netip.AddrPort // of its gossip port
}

// Config is what Open needs.
type Config struct {
	Cluster string         // ID of the cluster; packets of others are refused
	ID      cluster.NodeID // of this node
	Addr    netip.Addr     // address to bind to and to be reached at
	Port    uint16         // 0: any free one
	Keys    [][]byte       // each KeySize long; the first encrypts, all decrypt; at least one
	Advert  Advert
	Timing  Timing
	Log     *slog.Logger // nil: the default one

	// Peers gives the nodes that should be members, from the replicated state. It is called every few seconds, and those that
	// are not heard of are contacted. Nil: there are none.
	Peers func() []Peer

	// Transport replaces TCP and UDP, for tests: see gossiptest.
	Transport memberlist.NodeAwareTransport
}

func (c *Config) check() error {
	switch {
	case c.Cluster == "" || len(c.Cluster) > memberlist.LabelMaxSize:
		return errors.New("cluster ID is missing or too long")
	case !isNodeID(string(c.ID)):
		return fmt.Errorf("node ID %q is not a UUID", c.ID)
	case !c.Addr.IsValid() || c.Addr.IsUnspecified():
		return errors.New("address is missing: name one that peers can reach")
	}
	return checkKeys(c.Keys)
}

func checkKeys(keys [][]byte) error {
	if len(keys) == 0 {
		return errors.New("gossip key is missing: gossip is always encrypted")
	}
	for _, k := range keys {
		if len(k) != KeySize {
			return fmt.Errorf("gossip key of %d bytes: want %d", len(k), KeySize)
		}
	}
	return nil
}

// isNodeID tells whether a member's name is a node ID in its canonical form.
func isNodeID(s string) bool {
	id, err := uuid.Parse(s)
	return err == nil && id.String() == s
}

// memberlist gives the configuration of the library, but for delegates and keys.
func (c *Config) memberlist() *memberlist.Config {
	m := memberlist.DefaultLANConfig()
	m.ProbeInterval, m.ProbeTimeout = 2*time.Second, time.Second
	m.TCPTimeout = 5 * time.Second
	if c.Timing == WAN {
		m = memberlist.DefaultWANConfig()
		m.TCPTimeout = 15 * time.Second
	}
	m.Name = string(c.ID)
	m.Label = c.Cluster
	m.BindAddr, m.BindPort = c.Addr.String(), int(c.Port)
	m.AdvertiseAddr, m.AdvertisePort = c.Addr.String(), int(c.Port)
	m.EnableCompression = false // packets are small; encrypted bulk is rare
	m.DeadNodeReclaimTime = 30 * time.Second
	return m
}
