package node

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/google/uuid"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/gossip"
	"github.com/kilonova/kilonova/httpapi/identity"
	"github.com/kilonova/kilonova/node/pki"
	"github.com/kilonova/kilonova/raftfsm"
)

// Init makes a new cluster with this machine as its first node, in an empty data directory. It returns where
// clouds.yaml is. On a directory that is enrolled already it changes nothing and returns the same.
//
// The node's identity is written last: a machine that loses power before has no cluster yet, and Init starts over.
func Init(cfg Config) (clouds string, err error) { return begin(cfg, resume, anew) }

// resume is what Init does on a directory that is enrolled already.
func resume(_ *dataDir, id enrolment, cfg *Config) error {
	return errors.Join(sameBind(id, cfg), sameRole(id, cfg))
}

// begin makes the first node of a cluster in an empty data directory; enrolled is called when it is not.
func begin(cfg Config, enrolled func(*dataDir, enrolment, *Config) error, establish founding) (clouds string, err error) {
	if err := cfg.Validate(); err != nil {
		return "", err
	}
	dir, err := openDataDir(cfg.DataDir)
	if err != nil {
		return "", err
	}
	defer dir.close()
	switch id, err := dir.enrolment(); {
	case err == nil && id.ClusterID == "":
		return "", fmt.Errorf("%s belongs to a machine that began to join a cluster: finish that with `kilonova node join`, or name another --data-dir", cfg.DataDir)
	case err == nil:
		return dir.file(cloudsFile), enrolled(dir, id, &cfg)
	case !errors.Is(err, ErrNotEnrolled):
		return "", err
	}
	if err := checkBind(&cfg); err != nil {
		return "", err
	}
	if err := setAside(dir.file(raftDir)); err != nil {
		return "", err
	}
	return dir.file(cloudsFile), found(dir, &cfg, establish, time.Now())
}

// sameBind refuses to enrol a node under another address: it is enrolled, and moves when it is run.
func sameBind(id enrolment, cfg *Config) error {
	if cfg.Bind != "" && cfg.Bind != id.Bind {
		return fmt.Errorf("this node is enrolled with --bind %s, not %s: if this machine has that address now, say `kilonova node run --bind %[2]s --moved-from %[1]s`", id.Bind, cfg.Bind)
	}
	return nil
}

// checkBind refuses an address that is not this machine's before anything is made for it: certificates and peers would
// know the node by it for good.
func checkBind(cfg *Config) error {
	l, err := net.Listen("tcp", hostPort(cfg.Bind, 0))
	if err != nil {
		return fmt.Errorf("--bind %s is no address of this machine: %w", cfg.Bind, err)
	}
	return l.Close()
}

// setAside renames what an interrupted Init left. Nothing was acknowledged yet, and still nothing is deleted.
func setAside(path string) error {
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return os.Rename(path, fmt.Sprintf("%s.interrupted-%d", path, time.Now().Unix()))
}

// founder is whom a cluster begins with.
type founder struct {
	authority *pki.Authority
	node      cluster.Node
	password  string // of the administrator
	now       time.Time
}

// founding makes the replicated state of a first node, and gives the keys of its gossip.
type founding func(cfg raftfsm.Config, f founder) (gossipKeys [][]byte, err error)

// anew makes the state of a cluster that was not there before.
func anew(cfg raftfsm.Config, f founder) ([][]byte, error) {
	first, err := firstCommand(f)
	if err != nil {
		return nil, err
	}
	return first.Op.(*cluster.InitCluster).Authority.GossipKeys, raftfsm.Bootstrap(cfg, first)
}

// found writes everything that a first node has.
func found(dir *dataDir, cfg *Config, establish founding, now time.Time) error {
	clusterID, nodeID := uuid.NewString(), cluster.NodeID(uuid.NewString())
	authority, err := pki.NewAuthority(clusterID, now)
	if err != nil {
		return err
	}
	if err := signOwn(dir, authority, nodeID, cfg, now); err != nil {
		return err
	}
	password := randomText(18)
	if err := dir.writeClouds(cfg, identity.FirstUser, identity.FirstProject, password); err != nil {
		return err
	}
	raft := raftfsm.Config{ID: nodeID, Addr: cfg.at(PeerPort), Dir: dir.file(raftDir), Log: cfg.Log}
	keys, err := establish(raft, founder{authority, nodeRecord(cfg, nodeID), password, now})
	if err != nil {
		return err
	}
	return dir.saveEnrolment(enrolmentOf(cfg, clusterID, nodeID, keys))
}

func enrolmentOf(cfg *Config, clusterID string, id cluster.NodeID, gossipKeys [][]byte) enrolment {
	return enrolment{ClusterID: clusterID, Node: id, Name: cfg.Name, Bind: cfg.Bind, Witness: cfg.Witness, GossipKeys: gossipKeys}
}

// signOwn makes the first node's certificates, for which there is nobody else to ask.
func signOwn(dir *dataDir, a *pki.Authority, id cluster.NodeID, cfg *Config, now time.Time) error {
	keys, err := newLeafKeys()
	if err != nil {
		return err
	}
	peer, api, err := signLeaves(a, keys, id, cfg, now)
	if err != nil {
		return err
	}
	return errors.Join(dir.saveAuthorities(a.CertDER()), dir.saveLeaf(peerPEM, peer), dir.saveLeaf(apiPEM, api))
}

// firstCommand is what a cluster begins with.
func firstCommand(f founder) (cluster.Command, error) {
	at := cluster.At(f.now)
	secrets, err := newSecrets(f.authority, at)
	if err != nil {
		return cluster.Command{}, err
	}
	founders, err := identity.Seed(f.password, at)
	if err != nil {
		return cluster.Command{}, err
	}
	return cluster.Command{Time: at, Op: &cluster.InitCluster{
		Authority: secrets, Node: f.node, Roles: founders.Roles, Project: founders.Project, Admin: founders.Admin,
	}}, nil
}

// newSecrets are what only the members of a cluster know.
func newSecrets(a *pki.Authority, at cluster.Time) (cluster.Authority, error) {
	key, err := a.KeyPKCS8()
	if err != nil {
		return cluster.Authority{}, err
	}
	return cluster.Authority{
		ClusterID:  a.ClusterID(),
		CACert:     a.CertDER(),
		CAKey:      key,
		GossipKeys: [][]byte{randomBytes(gossip.KeySize)},
		TokenKeys:  []cluster.SigningKey{identity.NewSigningKey(at)},
		Created:    at,
	}, nil
}

// nodeRecord is what a node says of itself before its hypervisor was looked at.
func nodeRecord(cfg *Config, id cluster.NodeID) cluster.Node {
	return cluster.Node{
		ID:       id,
		Name:     cfg.Name,
		Address:  cfg.Bind,
		Zone:     cfg.Zone,
		Voter:    cfg.Voter,
		Witness:  cfg.Witness,
		Bridges:  cfg.Bridges,
		Open:     cfg.Open,
		Commands: cfg.commandVersion(),
		Version:  cfg.Version,
		Host:     cluster.HostFacts{Trouble: "the hypervisor has not answered yet"},
	}
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	rand.Read(b) // never fails: crypto/rand ends the program instead
	return b
}

// randomText draws n bytes and writes them in base64url.
func randomText(n int) string { return base64.RawURLEncoding.EncodeToString(randomBytes(n)) }
