package node

import (
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/peer"
	"github.com/kilonova/kilonova/node/peernet"
	"github.com/kilonova/kilonova/node/pki"
)

// joinTimeout bounds the whole exchange with the cluster.
const joinTimeout = 30 * time.Second

// Join enrols this machine in the cluster that a token names, through any node of it. It never bootstraps. On a
// directory that is enrolled in that cluster already it changes nothing; in another one, it refuses.
//
// The node's ID and keys are written before the cluster is asked, so a Join that was interrupted is repeated as the same
// node, and a token for one machine is enough. The cluster knows the node by its key: nobody else can repeat it.
func Join(ctx context.Context, cfg Config, through, token string) error {
	if err := cfg.Validate(); err != nil {
		return err
	}
	dir, err := openDataDir(cfg.DataDir)
	if err != nil {
		return err
	}
	defer dir.close()
	id, err := dir.enrolment()
	if err != nil && !errors.Is(err, ErrNotEnrolled) {
		return err
	}
	if id.ClusterID != "" {
		return sameCluster(dir, id, &cfg, token)
	}
	parsed, err := pki.ParseJoinToken(token)
	if err != nil {
		return err
	}
	if err := checkBind(&cfg); err != nil {
		return err
	}
	if id.Node == "" {
		id = enrolment{Node: cluster.NodeID(uuid.NewString())}
	}
	id.Name, id.Bind, id.Witness = cfg.Name, cfg.Bind, cfg.Witness
	if err := dir.saveEnrolment(id); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, joinTimeout)
	defer cancel()
	return enrol(ctx, dir, &cfg, id, withPort(through), parsed)
}

// sameCluster lets a repeated Join through, and refuses one for another cluster.
func sameCluster(dir *dataDir, id enrolment, cfg *Config, token string) error {
	if token != "" {
		parsed, err := pki.ParseJoinToken(token)
		if err != nil {
			return err
		}
		trusted, err := dir.authorities()
		if err != nil {
			return err
		}
		if !trusted.Has(parsed.Pin) && !slices.Contains(id.Pins, parsed.Pin) {
			return fmt.Errorf("%s belongs to a node of cluster %s, and the token is for another one: use an empty --data-dir", dir.path, id.ClusterID)
		}
	}
	return errors.Join(sameBind(id, cfg), sameRole(id, cfg))
}

// withPort adds the peer port to an address that names none.
func withPort(addr string) string {
	if _, _, err := net.SplitHostPort(addr); err == nil {
		return addr
	}
	return hostPort(addr, PeerPort)
}

// enrol asks a node of the cluster to admit this machine, and writes what it was given.
func enrol(ctx context.Context, dir *dataDir, cfg *Config, id enrolment, through string, token pki.JoinToken) error {
	conn, authority, err := peernet.DialJoin(ctx, through, token.Pin)
	if err != nil {
		return err
	}
	defer conn.Close()
	keys, err := dir.joinKeys()
	if err != nil {
		return err
	}
	peerCSR, err := pki.Request(keys.peer)
	if err != nil {
		return err
	}
	apiCSR, err := pki.Request(keys.api)
	if err != nil {
		return err
	}
	res, err := peer.Join(ctx, conn, peer.JoinRequest{
		Token: token.ID, Secret: token.Secret,
		Node: nodeRecord(cfg, id.Node), PeerCSR: peerCSR, APICSR: apiCSR, Commands: cfg.commandVersion(),
	})
	if err != nil {
		return err
	}
	if res.ClusterID != authority.ClusterID() {
		return fmt.Errorf("join through %s: it answered for cluster %s, not %s", through, res.ClusterID, authority.ClusterID())
	}
	trusted, err := pki.ParseTrusted(append([][]byte{res.CACert}, res.OtherCAs...))
	if err != nil {
		return fmt.Errorf("join through %s: %w", through, err)
	}
	err = errors.Join(
		dir.saveAuthorities(append([][]byte{res.CACert}, res.OtherCAs...)...),
		dir.saveLeaf(peerPEM, pki.Leaf(res.PeerCert, keys.peer, res.CACert)),
		dir.saveLeaf(apiPEM, pki.Leaf(res.APICert, keys.api, res.CACert)))
	if err != nil {
		return err
	}
	leaf, err := dir.leaf(peerPEM)
	if err != nil {
		return fmt.Errorf("join through %s: what it sent is no certificate for this machine: %w", through, err)
	}
	who, err := trusted.VerifyPeer([]*x509.Certificate{leaf.Leaf}, pki.RolePeer, time.Now())
	if err != nil {
		return fmt.Errorf("join through %s (are the clocks right?): %w", through, err)
	}
	if who != id.Node {
		return fmt.Errorf("join through %s: it sent the certificate of node %s, not of %s", through, who, id.Node)
	}
	id.ClusterID, id.GossipKeys, id.Peers = res.ClusterID, res.GossipKeys, res.Peers
	id.Pins = []cluster.Hash{token.Pin}
	if err := dir.saveEnrolment(id); err != nil {
		return err
	}
	return dir.dropJoinKeys()
}

// signLeaves makes a node's two certificates with an authority that is at hand.
func signLeaves(a *pki.Authority, k leafKeys, id cluster.NodeID, cfg *Config, now time.Time) (peer, api tls.Certificate, err error) {
	if peer, err = signLeaf(a, pki.RolePeer, k.peer, id, cfg, now); err == nil {
		api, err = signLeaf(a, pki.RoleAPI, k.api, id, cfg, now)
	}
	return peer, api, err
}

func signLeaf(a *pki.Authority, role pki.Role, key *ecdsa.PrivateKey, id cluster.NodeID, cfg *Config, now time.Time) (tls.Certificate, error) {
	csr, err := pki.Request(key)
	if err != nil {
		return tls.Certificate{}, err
	}
	der, err := a.Sign(csr, pki.Subject{Role: role, Node: id, Name: cfg.Name, Address: cfg.Bind}, now)
	if err != nil {
		return tls.Certificate{}, err
	}
	return pki.Leaf(der, key, a.CertDER()), nil
}
