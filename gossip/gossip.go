package gossip

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
	"github.com/kilonova/kilonova/cluster"
)

// Gossip is this node's part in the gossip of its cluster.
type Gossip struct {
	config    Config
	log       *slog.Logger
	keyring   *memberlist.Keyring
	list      *memberlist.Memberlist
	transport *tracked
	table     *table
	announcer *announcer

	cancel context.CancelFunc
	done   sync.WaitGroup
	close  sync.Once
}

// Open binds the port and begins to gossip. It contacts nobody by itself: Config.Peers and Join say whom.
func Open(c Config) (*Gossip, error) {
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("open gossip: %w", err)
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	keyring, err := memberlist.NewKeyring(c.Keys, c.Keys[0])
	if err != nil {
		return nil, fmt.Errorf("open gossip: read keys: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	g := &Gossip{config: c, log: c.Log, keyring: keyring, cancel: cancel, table: newTable(c.ID, c.Log)}
	if g.announcer, err = newAnnouncer(c.Advert); err != nil {
		cancel()
		return nil, fmt.Errorf("open gossip: %w", err)
	}
	if err := g.start(ctx); err != nil {
		cancel()
		return nil, fmt.Errorf("open gossip on %s: %w", netip.AddrPortFrom(c.Addr, c.Port), err)
	}
	return g, nil
}

// start opens the transport and the list of members, and starts the loops.
func (g *Gossip) start(ctx context.Context) error {
	m := g.config.memberlist()
	logger := quietLogger(g.log)
	if err := g.listen(ctx, m, logger); err != nil {
		return err
	}
	m.Logger = logger
	m.Transport = g.transport
	m.Keyring = g.keyring
	m.Delegate, m.Events, m.Conflict, m.Alive = g.announcer, g.table, g.table, g.table
	list, err := memberlist.Create(m)
	if err != nil {
		_ = g.transport.Shutdown()
		return err
	}
	g.list = list
	g.done.Go(func() { g.announcer.run(ctx, list) })
	g.done.Go(func() { g.rejoin(ctx) })
	return nil
}

// Addr is where this node is reached, with the port that was found if any free one was asked for.
func (g *Gossip) Addr() netip.AddrPort {
	n := g.list.LocalNode()
	a, _ := netip.AddrFromSlice(n.Addr)
	return netip.AddrPortFrom(a.Unmap(), n.Port)
}

// Members gives every node that was heard of and is still expected, this one included, by ID. A dead one stays until
// Config.Peers does not name it any more.
func (g *Gossip) Members() []Member { return g.table.members() }

// Changed gives a channel that is closed at the next change of what Members gives. Take it before reading Members.
func (g *Gossip) Changed() <-chan struct{} { return g.table.changes() }

// Counters gives what was counted since Open.
func (g *Gossip) Counters() Counters {
	c := g.table.counters()
	c.Announced = g.announcer.sent.Load()
	return c
}

// Conflicts gives the node IDs that more than one machine claims, by ID.
func (g *Gossip) Conflicts() []Conflict { return g.table.conflicts() }

// SetAdvert replaces what this node says of itself. It is told to the others only if it differs after rounding, and not
// more often than a few times a minute; the last one wins.
func (g *Gossip) SetAdvert(a Advert) error { return g.announcer.set(a) }

// SetKeys makes these the gossip keys: the first encrypts, all decrypt. A rotation takes three steps, each of which has to
// reach every node before the next: [old new], [new old], [new].
func (g *Gossip) SetKeys(keys [][]byte) error {
	if err := checkKeys(keys); err != nil {
		return fmt.Errorf("set gossip keys: %w", err)
	}
	for _, k := range keys {
		if err := g.keyring.AddKey(k); err != nil {
			return fmt.Errorf("set gossip keys: install: %w", err)
		}
	}
	if err := g.keyring.UseKey(keys[0]); err != nil {
		return fmt.Errorf("set gossip keys: use: %w", err)
	}
	for _, k := range g.keyring.GetKeys() {
		if !contains(keys, k) {
			if err := g.keyring.RemoveKey(k); err != nil {
				return fmt.Errorf("set gossip keys: remove: %w", err)
			}
		}
	}
	return nil
}

func contains(keys [][]byte, key []byte) bool {
	for _, k := range keys {
		if string(k) == string(key) {
			return true
		}
	}
	return false
}

// Join contacts peers at once. It fails only when it reached none of them.
func (g *Gossip) Join(peers ...Peer) error {
	names := make([]string, len(peers))
	for i, p := range peers {
		names[i] = string(p.ID) + "/" + p.Addr.String()
		if p.ID == "" {
			names[i] = p.Addr.String()
		}
	}
	if _, err := g.list.Join(names); err != nil {
		return fmt.Errorf("join gossip: %w", err)
	}
	return nil
}

// Leave tells the others that this node stops on purpose, so they need not find out. It waits until somebody was told or the
// time is over. Call it before Close, at most once.
func (g *Gossip) Leave(within time.Duration) error {
	if err := g.list.Leave(within); err != nil {
		return fmt.Errorf("leave gossip: %w", err)
	}
	return nil
}

// Close stops gossiping, and waits for the loops and connections to end. Peers find out by themselves, unless Leave told them.
// Closing twice is the same as once.
func (g *Gossip) Close() error {
	var err error
	g.close.Do(func() {
		g.cancel()
		err = g.list.Shutdown()
		g.done.Wait()
		g.transport.wait()
	})
	if err != nil {
		return fmt.Errorf("close gossip: %w", err)
	}
	return nil
}

// peers gives the other nodes that should be members; false when nobody says.
func (g *Gossip) peers() ([]Peer, bool) {
	if g.config.Peers == nil {
		return nil, false
	}
	var others []Peer
	for _, p := range g.config.Peers() {
		if p.ID != g.config.ID {
			others = append(others, p)
		}
	}
	return others, true
}

// idsOf gives the IDs of peers as a set.
func idsOf(peers []Peer) map[cluster.NodeID]bool {
	ids := make(map[cluster.NodeID]bool, len(peers))
	for _, p := range peers {
		ids[p.ID] = true
	}
	return ids
}
