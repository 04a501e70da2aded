package node

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/peer"
	"github.com/kilonova/kilonova/httpapi/rest"
	"github.com/kilonova/kilonova/node/pki"
)

// admission lets machines with a join token in. Any node serves it: the token is used up in the replicated state, so
// two nodes cannot let two machines in with one.
type admission struct {
	backend rest.Backend
	pause   *attempts
}

// Enrol implements peer.Enroller. Everything is checked against a view that holds all that was acknowledged before anything
// is signed or logged, so guessing costs the cluster nothing but the look; Apply checks once more.
func (a *admission) Enrol(ctx context.Context, r peer.JoinRequest) (peer.JoinResponse, error) {
	var none peer.JoinResponse
	if err := a.pause.wait(ctx); err != nil {
		return none, err
	}
	view, err := a.backend.Read(ctx)
	if err != nil {
		return none, err
	}
	if err := checkToken(view, r); err != nil {
		return none, err
	}
	key, err := pki.KeyOf(r.PeerCSR)
	if err != nil {
		return none, cluster.Errorf(cluster.Invalid, "%v", err)
	}
	r.Node = applicant(r, key)
	if err := checkApplicant(view, r); err != nil {
		return none, err
	}
	certs, err := a.sign(view, r)
	if err != nil {
		return none, err
	}
	op := &cluster.EnrolNode{Token: r.Token, Secret: sha256.Sum256(r.Secret), Node: r.Node}
	if view.AllKnow(cluster.KeyCommands) {
		op.Authority = view.Authority().Revision
	}
	if _, err := a.backend.Propose(ctx, cluster.Command{Time: cluster.At(time.Now()), Op: op}); err != nil {
		if cluster.CodeOf(err) == cluster.Stale {
			return none, cluster.Errorf(cluster.Unavailable, "the cluster's keys are just being replaced: try again")
		}
		return none, err
	}
	return a.welcome(r, certs)
}

// checkToken tells strangers nothing but that their token is no good.
func checkToken(view *cluster.View, r peer.JoinRequest) error {
	token, ok := view.JoinToken(r.Token)
	secret := sha256.Sum256(r.Secret)
	if !ok || subtle.ConstantTimeCompare(token.Hash[:], secret[:]) != 1 {
		return cluster.Errorf(cluster.Unauthorized, "The join token is not known to this cluster")
	}
	return nil
}

// applicant is what the cluster records of a joining machine: what it may say of itself, and the key that its certificate will
// be for. What it has is looked at when it is in.
func applicant(r peer.JoinRequest, key cluster.Hash) cluster.Node {
	n := r.Node
	return cluster.Node{
		ID: n.ID, Name: n.Name, Address: n.Address, Zone: n.Zone, Voter: n.Voter, Witness: n.Witness, Bridges: n.Bridges, Open: n.Open,
		Commands: r.Commands, Version: n.Version, Key: key,
		Host: cluster.HostFacts{Trouble: "the hypervisor has not answered yet"},
	}
}

// checkApplicant refuses what can never work, before anything is written.
func checkApplicant(view *cluster.View, r peer.JoinRequest) error {
	n := &r.Node
	if _, err := uuid.Parse(string(n.ID)); err != nil {
		return cluster.Errorf(cluster.Invalid, "the joining machine's node ID is not a UUID")
	}
	if err := errors.Join(checkName(n.Name), checkReachable(n.Address)); err != nil {
		return cluster.Errorf(cluster.Invalid, "%v", err)
	}
	if view.WasRemoved(n.ID) {
		return cluster.Errorf(cluster.Forbidden, "node %s was removed from this cluster and cannot come back: wipe its data directory and join as a new node", n.ID)
	}
	if n.Witness && !view.AllKnow(cluster.KeyCommands) {
		return cluster.Errorf(cluster.Conflict, "a node of the cluster runs a version that knows no witnesses: upgrade it first")
	}
	for other := range view.Nodes() {
		switch {
		case other.Commands > r.Commands:
			return cluster.Errorf(cluster.Conflict, "the joining machine's kilonova is older than that of node %s (%s): upgrade it first", other.Name, other.Version)
		case other.ID == n.ID:
		case other.Name == n.Name:
			return cluster.Errorf(cluster.Conflict, "the name %s is taken by another node (%s): give this machine another one with --name", n.Name, other.Address)
		case other.Address == n.Address:
			return cluster.Errorf(cluster.Conflict, "the address %s is that of node %s: is --bind this machine's own?", n.Address, other.Name)
		}
	}
	return nil
}

type signedPair struct{ peer, api, by []byte }

func (a *admission) sign(view *cluster.View, r peer.JoinRequest) (signedPair, error) {
	var p signedPair
	au := view.Authority()
	if au == nil {
		return p, cluster.Errorf(cluster.Unavailable, "this node has not caught up with the cluster yet: try again")
	}
	authority, err := pki.ParseAuthority(au.CACert, au.CAKey)
	if err != nil {
		return p, err
	}
	p.by = au.CACert
	s := pki.Subject{Role: pki.RolePeer, Node: r.Node.ID, Name: r.Node.Name, Address: r.Node.Address}
	if p.peer, err = authority.Sign(r.PeerCSR, s, time.Now()); err != nil {
		return p, cluster.Errorf(cluster.Invalid, "%v", err)
	}
	s.Role = pki.RoleAPI
	if p.api, err = authority.Sign(r.APICSR, s, time.Now()); err != nil {
		return p, cluster.Errorf(cluster.Invalid, "%v", err)
	}
	return p, nil
}

// welcome says what the new member needs to know, from a view that holds it.
func (a *admission) welcome(r peer.JoinRequest, certs signedPair) (peer.JoinResponse, error) {
	view := a.backend.Local()
	n, ok := view.Node(r.Node.ID)
	if !ok {
		return peer.JoinResponse{}, fmt.Errorf("enrol node %s: it is not in the state after its command", r.Node.ID)
	}
	au := view.Authority()
	res := peer.JoinResponse{
		ClusterID: au.ClusterID, CACert: certs.by, PeerCert: certs.peer, APICert: certs.api,
		GossipKeys: au.GossipKeys, Node: *n,
	}
	for _, der := range au.Authorities() {
		if !bytes.Equal(der, certs.by) {
			res.OtherCAs = append(res.OtherCAs, der)
		}
	}
	for other := range view.Nodes() {
		if other.ID != n.ID {
			res.Peers = append(res.Peers, peer.Address{Node: other.ID, Address: other.Address})
		}
	}
	return res, nil
}

// attempts bounds how fast strangers may try join tokens.
type attempts struct{ slots chan struct{} }

// The secret has 256 bits, so this only keeps strangers from keeping the cluster busy.
const (
	attemptsAtOnce = 4
	attemptPause   = 50 * time.Millisecond
)

func newAttempts() *attempts { return &attempts{slots: make(chan struct{}, attemptsAtOnce)} }

func (a *attempts) wait(ctx context.Context) error {
	select {
	case a.slots <- struct{}{}:
		defer func() { <-a.slots }()
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-time.After(attemptPause):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
