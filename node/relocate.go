package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/node/peernet"
)

// formerTimeout bounds the question whether this node runs at the address that it had.
const formerTimeout = 2 * time.Second

// errElsewhere ends a node that the cluster knows at another address, to which it has not moved.
var errElsewhere = errors.New("a data directory cannot be copied to a second machine: wipe the one that is too much, and join with it as a new node")

func goesOnAt(address string) error {
	return fmt.Errorf("this node goes on at %s: %w", address, errElsewhere)
}

// relocate takes in that the machine of an enrolled node has another address, on the operator's word. It writes that down before anything is opened: whatever is interrupted,
// the node knows all addresses by which the cluster may know it, until settle has told the cluster of the present one.
//
// Moving with its machine, and being copied to another, look the same from here: hence the word. Should it be wrong, nothing is done when the node
// answers where it was; and when that was off, and both are run, one is told by the others when it starts (see standing), or by settle.
func (d *dataDir) relocate(ctx context.Context, id enrolment, cfg *Config) (enrolment, error) {
	if a, err := netip.ParseAddr(cfg.Bind); err == nil {
		cfg.Bind = a.Unmap().String()
	}
	if cfg.Bind == "" || cfg.Bind == id.Bind {
		return id, nil
	}
	if cfg.MovedFrom != id.Bind {
		return id, fmt.Errorf("this node is enrolled with --bind %s, not %s: if this machine has that address now, and this is no copy of the data directory, say --moved-from %[1]s once", id.Bind, cfg.Bind)
	}
	if err := checkReachable(cfg.Bind); err != nil {
		return id, err
	}
	if err := checkBind(cfg); err != nil {
		return id, err
	}
	if d.answersAt(ctx, id, id.Bind) {
		return id, goesOnAt(id.Bind)
	}
	id.Former = slices.DeleteFunc(append(id.Former, id.Bind), func(a string) bool { return a == cfg.Bind })
	id.Bind = cfg.Bind
	if err := d.saveEnrolment(id); err != nil {
		return id, err
	}
	cfg.Log.Info("this node has another address", "now", id.Bind, "before", id.Former)
	return id, nil
}

// answersAt tells whether a node with this identity answers at an address. Who answers proves it by its certificate.
func (d *dataDir) answersAt(ctx context.Context, id enrolment, address string) bool {
	trusted, err := d.authorities()
	if err != nil {
		return false // which the start will tell
	}
	leaf, err := d.leaf(peerPEM)
	if err != nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, formerTimeout)
	defer cancel()
	anyone := func(cluster.NodeID) bool { return true }
	conn, err := peernet.NewCredentials(leaf, trusted...).Dial(ctx, hostPort(address, PeerPort), peernet.ProtoHTTP, id.Node, anyone)
	if err != nil {
		return false
	}
	conn.Close()
	return true
}

// keepIdentity keeps what this node is known by: first its address, then its keys and certificates. Until ctx ends.
func (n *node) keepIdentity(ctx context.Context) {
	k := n.newKeeper()
	if n.settle(ctx, k) {
		k.run(ctx)
	}
}

// settle tells the cluster where this node is, when that is not where it was, and forgets the former addresses when the cluster knows. It is false
// when ctx has ended before, or the node has.
func (n *node) settle(ctx context.Context, k *keeper) bool {
	retry := inventoryRetry
	for len(k.id.Former) > 0 {
		err := n.tellAddress(ctx)
		if err == nil {
			err = k.forgetFormer(n.state.Local(), time.Now())
		}
		switch {
		case err == nil:
			return true
		case cluster.CodeOf(err) == cluster.Stale:
			n.fail(fmt.Errorf("%w: %w", err, errElsewhere))
			return false
		}
		n.cfg.Log.Info("tell the cluster this node's address", "err", err, "again_in", retry)
		if !pause(ctx, retry) {
			return false
		}
		retry = min(2*retry, inventoryEvery)
	}
	return true
}

func (n *node) tellAddress(ctx context.Context) error {
	_, err := n.state.Propose(ctx, cluster.Command{Time: cluster.At(time.Now()), Op: &cluster.RelocateNode{ID: n.id.Node, From: n.id.Former, To: n.id.Bind}})
	return err
}

// forgetFormer makes the files of this node name the present address alone. The certificates come first: they prove the identity that is written last.
func (k *keeper) forgetFormer(view *cluster.View, now time.Time) error {
	au := view.Authority()
	if au == nil || au.Revision < k.id.Keys {
		return errNotInState
	}
	if err := k.adopt(view, now); err != nil {
		return err
	}
	for _, address := range k.id.Former {
		if err := k.dir.moveClouds(address, k.id.Bind); err != nil {
			return err
		}
	}
	settled := k.id
	settled.Former = nil
	if err := k.dir.saveEnrolment(settled); err != nil {
		return err
	}
	k.log.Info("the cluster knows this node's address", "address", settled.Bind)
	k.id = settled
	return nil
}

// moveClouds has clouds.yaml name the present address where it names a former one. All else in it is its owner's.
func (d *dataDir) moveClouds(from, to string) error {
	b, err := os.ReadFile(d.file(cloudsFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("move clouds.yaml: %w", err)
	}
	moved := bytes.ReplaceAll(b, []byte("//"+hostPort(from, APIPort)+"/"), []byte("//"+hostPort(to, APIPort)+"/"))
	if bytes.Equal(moved, b) {
		return nil
	}
	return writeFile(d.file(cloudsFile), moved)
}
