package node

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/node/peernet"
	"github.com/kilonova/kilonova/node/pki"
)

const (
	// keysEvery is how often the keys are looked at when the state does not change: certificates grow old, and old keys are kept for a time.
	keysEvery = time.Minute

	// keysRetry is the pause after what did not work.
	keysRetry = time.Second

	// maxPins bounds the fingerprints that a node remembers.
	maxPins = 16
)

// keeper makes this node use the keys that the state names, renews its certificates, and tells the cluster how far it is when keys are rotated.
// It is level-triggered: whatever was interrupted, the next pass compares and does the rest. Every node holds the cluster's authority in its
// state, so it asks nobody for a certificate: what keeps a removed node out is that peers look it up in the state.
type keeper struct {
	cfg    *Config
	dir    *dataDir
	id     enrolment
	creds  *peernet.Credentials
	gossip interface{ SetKeys([][]byte) error }
	state  keeperState
	leads  func() bool
	served func() // the API's certificate is another one
	log    *slog.Logger

	adopted uint64 // revision of the keys in use; 0: not looked at since the start
}

// keeperState is the replicated state as a keeper needs it.
type keeperState interface {
	Latest() (*cluster.View, <-chan struct{})
	Propose(context.Context, cluster.Command) (cluster.Result, error)
}

func (n *node) newKeeper() *keeper {
	return &keeper{
		cfg: n.cfg, dir: n.dir, id: n.id, creds: n.wire.directory.creds, gossip: n.members.gossip, state: n.state,
		leads: n.state.raft.IsLeader, served: n.apiLeaf.forget, log: n.cfg.Log,
	}
}

// run keeps the keys until ctx ends.
func (k *keeper) run(ctx context.Context) {
	for {
		view, changed := k.state.Latest()
		wait := untilDue(view, time.Now())
		if err := k.pass(ctx, view, time.Now()); err != nil && ctx.Err() == nil {
			k.log.Warn("keep the cluster's keys", "err", err)
			wait, changed = keysRetry, nil
		}
		timer := time.NewTimer(wait)
		select {
		case <-changed:
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
		if ctx.Err() != nil {
			return
		}
	}
}

// untilDue is how long nothing has to be done unless the state changes.
func untilDue(view *cluster.View, now time.Time) time.Duration {
	wait := keysEvery
	for r := range view.Rotations() {
		if left := r.Begun.Add(r.Keep).Std().Sub(now); r.UnderWay() && left > 0 {
			wait = min(wait, left+keysRetry)
		}
	}
	return wait
}

// pass does what the view asks for. A view that is older than what this node has told of is left alone: right after a start a replica has seen
// only a part of its log, and a step back could not be taken together with the others.
func (k *keeper) pass(ctx context.Context, view *cluster.View, now time.Time) error {
	au := view.Authority()
	if au == nil || au.Revision < k.id.Keys {
		return nil
	}
	if k.due(view, now) {
		if err := k.adopt(view, now); err != nil {
			return err
		}
		k.adopted = au.Revision
	}
	for r := range view.Rotations() {
		if err := k.tell(ctx, view, r, now); err != nil {
			return err
		}
	}
	return nil
}

// due tells whether something on this node differs from what the view asks for, or is about to.
func (k *keeper) due(view *cluster.View, now time.Time) bool {
	leaf := k.creds.Leaf().Leaf
	return view.Authority().Revision != k.adopted || pki.RenewalDue(leaf, now) || !k.named(leaf) || k.name(view) != k.id.Name
}

// name is what the cluster calls this node.
func (k *keeper) name(view *cluster.View) string {
	if n, ok := view.Node(k.id.Node); ok {
		return n.Name
	}
	return k.id.Name
}

// tell says how far this node is, and the leader, that the time of a step is over.
func (k *keeper) tell(ctx context.Context, view *cluster.View, r *cluster.Rotation, now time.Time) error {
	var op cluster.Op
	_, member := view.Node(k.id.Node)
	switch {
	case r.UnderWay() && member && !r.Has(k.id.Node):
		op = &cluster.ConfirmKeys{Keys: r.Keys, Since: r.Since, Node: k.id.Node}
	case k.leads() && view.RotationDue(r, cluster.At(now)):
		op = &cluster.AdvanceRotation{Keys: r.Keys, Since: r.Since}
	default:
		return nil
	}
	_, err := k.state.Propose(ctx, cluster.Command{Time: cluster.At(now), Op: op})
	if code := cluster.CodeOf(err); err != nil && code != cluster.Stale && code != cluster.Conflict { // a newer view will tell
		return fmt.Errorf("rotate the %s key: step %q: %w", r.Keys, r.Step, err)
	}
	return nil
}

// adopt makes everything on this node as the keys of the view have it. Whom to believe comes before what to show, and what this node has told the
// others to have comes last.
func (k *keeper) adopt(view *cluster.View, now time.Time) error {
	au := view.Authority()
	trusted, err := pki.ParseTrusted(au.Authorities())
	if err != nil {
		return err
	}
	if err := k.dir.saveAuthorities(au.Authorities()...); err != nil {
		return err
	}
	k.creds.Set(k.creds.Leaf(), trusted...)
	if err := k.certify(au, trusted, now); err != nil {
		return err
	}
	if err := k.certifyAPI(view, now); err != nil {
		return err
	}
	if err := k.gossip.SetKeys(au.GossipKeys); err != nil {
		return err
	}
	next := k.id
	next.Keys, next.GossipKeys, next.Name = au.Revision, au.GossipKeys, k.name(view)
	next.Pins = slices.Clone(k.id.Pins)
	for _, a := range trusted {
		if !slices.Contains(next.Pins, a.Fingerprint()) {
			next.Pins = append(next.Pins, a.Fingerprint())
		}
	}
	next.Pins = next.Pins[max(0, len(next.Pins)-maxPins):]
	if err := k.dir.saveEnrolment(next); err != nil {
		return err
	}
	k.id = next
	return nil
}

// certify renews the certificate of the peer port where it is old or another authority's, and makes one to show to machines that know the cluster
// by the other authority.
func (k *keeper) certify(au *cluster.Authority, trusted pki.Trusted, now time.Time) error {
	signer, err := pki.ParseAuthority(au.CACert, au.CAKey)
	if err != nil {
		return err
	}
	if leaf := k.creds.Leaf(); pki.RenewalDue(leaf.Leaf, now) || !signer.Signed(leaf.Leaf) || !k.named(leaf.Leaf) {
		renewed, err := k.sign(signer, pki.RolePeer, peerPEM, now)
		if err != nil {
			return err
		}
		k.creds.Set(renewed, trusted...)
		k.log.Info("renewed this node's certificate", "until", renewed.Leaf.NotAfter)
	}
	if au.Other == nil {
		k.creds.Greet(nil, tls.Certificate{})
		return nil
	}
	other, err := pki.ParseAuthority(au.Other.Cert, au.Other.Key)
	if err != nil {
		return err
	}
	key, ok := k.creds.Leaf().PrivateKey.(*ecdsa.PrivateKey)
	if !ok {
		return fmt.Errorf("certify node %s: its key is not ECDSA", k.id.Node)
	}
	greeting, err := signLeaf(other, pki.RolePeer, key, k.id.Node, k.cfg, now)
	if err == nil {
		k.creds.Greet(other, greeting)
	}
	return err
}

// named tells whether a certificate is for the present name and address of this node.
func (k *keeper) named(c *x509.Certificate) bool { return pki.IsFor(c, k.cfg.Name, k.cfg.Bind) }

// certifyAPI renews the certificate of the API where it is old or another authority's. Clients copy the authorities by hand, so the API stays
// with the former one for as long as that is kept.
func (k *keeper) certifyAPI(view *cluster.View, now time.Time) error {
	au := view.Authority()
	cert, key := au.CACert, au.CAKey
	if r, ok := view.Rotation(cluster.KeysAuthority); ok && r.Step == cluster.KeysUsed && au.Other != nil {
		cert, key = au.Other.Cert, au.Other.Key
	}
	signer, err := pki.ParseAuthority(cert, key)
	if err != nil {
		return err
	}
	leaf, err := k.dir.leaf(apiPEM)
	if err == nil && !pki.RenewalDue(leaf.Leaf, now) && signer.Signed(leaf.Leaf) && k.named(leaf.Leaf) && bytes.Equal(leaf.Certificate[len(leaf.Certificate)-1], cert) {
		return nil
	}
	if _, err := k.sign(signer, pki.RoleAPI, apiPEM, now); err != nil {
		return err
	}
	k.served()
	return nil
}

// sign makes a key and a certificate for it, and writes both.
func (k *keeper) sign(a *pki.Authority, role pki.Role, file string, now time.Time) (tls.Certificate, error) {
	key, err := pki.NewKey()
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make a key: %w", err)
	}
	leaf, err := signLeaf(a, role, key, k.id.Node, k.cfg, now)
	if err != nil {
		return leaf, err
	}
	return leaf, k.dir.saveLeaf(file, leaf)
}
