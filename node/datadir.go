package node

import (
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/peer"
	"github.com/kilonova/kilonova/node/pki"
)

// The files of a data directory. Those with secrets have mode 0600.
const (
	identityFile = "node.json"
	authorityPEM = "ca.pem"
	peerPEM      = "peer.pem"
	apiPEM       = "api.pem"
	joinPEM      = "join.pem" // the keys of a machine that has asked to join and has no certificates yet
	cloudsFile   = "clouds.yaml"
	lockFile     = "lock"
	socketFile   = "kilonova.sock"
	raftDir      = "raft"
)

// ErrNotEnrolled says that the data directory belongs to no cluster yet.
var ErrNotEnrolled = errors.New("this machine is not enrolled: run `kilonova node init` for a new cluster, or `kilonova node join`")

// enrolment is who this node is: made once, kept in the data directory for ever.
type enrolment struct {
	ClusterID  string         `json:"cluster_id"` // "": a join was begun and not finished
	Node       cluster.NodeID `json:"node"`
	Name       string         `json:"name"`
	Bind       string         `json:"bind"`
	Witness    bool           `json:"witness,omitempty"`
	GossipKeys [][]byte       `json:"gossip_keys"`
	Peers      []peer.Address `json:"peers"` // where to look for the cluster, before the state is known

	// Former are the addresses by one of which the cluster may still know this node: it has been moved to Bind, and is not sure yet that the others
	// have heard of that.
	Former []string `json:"former,omitempty"`

	// Keys is the revision of the cluster's keys (cluster.Authority) that this node has and may have told the others so. Older ones, which a
	// replica has for a moment after a start, are not gone back to.
	Keys uint64 `json:"keys,omitempty"`

	// Pins are the fingerprints of the authorities that the cluster had while this node was in it, the newest last.
	Pins []cluster.Hash `json:"pins,omitempty"`
}

// dataDir is a node's directory, locked against a second process.
type dataDir struct {
	path string
	lock *os.File
}

// openDataDir makes the directory where it is missing and takes its lock. Others may pass through it but not list it:
// QEMU, which is not root, opens its guests' disks below.
func openDataDir(path string) (*dataDir, error) {
	path = absolute(path)
	if err := os.MkdirAll(path, 0o711); err != nil {
		return nil, fmt.Errorf("make the data directory: %w", err)
	}
	if err := traversable(path); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(path, lockFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the data directory: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("another kilonova runs on %s: stop it first", path)
	}
	return &dataDir{path: path, lock: f}, nil
}

// traversable lets others pass through a directory, whatever the umask or the package made of it.
func traversable(path string) error {
	info, err := os.Stat(path)
	if err == nil && info.Mode().Perm()&0o011 != 0o011 {
		err = os.Chmod(path, info.Mode().Perm()|0o011)
	}
	if err != nil {
		return fmt.Errorf("let guests pass through the data directory: %w", err)
	}
	return nil
}

func (d *dataDir) close() { d.lock.Close() }

func (d *dataDir) file(name string) string { return filepath.Join(d.path, name) }

// notEnrolled names the directory: often it is another one that was meant.
func (d *dataDir) notEnrolled() error {
	return fmt.Errorf("use %s: %w; --data-dir names another directory", d.path, ErrNotEnrolled)
}

// enrolment reads who this node is; ErrNotEnrolled when nothing was written yet.
func (d *dataDir) enrolment() (enrolment, error) {
	var id enrolment
	b, err := os.ReadFile(d.file(identityFile))
	if errors.Is(err, os.ErrNotExist) {
		return id, d.notEnrolled()
	}
	if err != nil {
		return id, fmt.Errorf("read the node's identity: %w", err)
	}
	if err := json.Unmarshal(b, &id); err != nil {
		return id, fmt.Errorf("read %s (it is damaged; restore it, or wipe the directory and join as a new node): %w", d.file(identityFile), err)
	}
	if id.ClusterID == "" {
		return id, nil
	}
	return id, d.certifies(id)
}

// certifies compares the identity with the node's certificate, which nobody can edit. A copied directory that was made to fit another
// machine would otherwise be a second node with the identity, and with the vote, of the first.
func (d *dataDir) certifies(id enrolment) error {
	leaf, err := d.leaf(peerPEM)
	if err != nil {
		return err
	}
	cert, err := x509.ParseCertificate(leaf.Certificate[0])
	if err != nil {
		return fmt.Errorf("read the node's certificate %s: %w", d.file(peerPEM), err)
	}
	named := func(address string) bool { return cert.VerifyHostname(address) == nil }
	if cert.Subject.CommonName != string(id.Node) || !named(id.Bind) && !slices.ContainsFunc(id.Former, named) {
		return fmt.Errorf("%s says that this is node %s at %s, and its certificate says otherwise: a node's data directory cannot be copied to another machine; wipe it, and join as a new node",
			d.file(identityFile), id.Node, id.Bind)
	}
	return nil
}

func (d *dataDir) saveEnrolment(id enrolment) error {
	b, err := json.MarshalIndent(id, "", "  ")
	if err != nil {
		return err
	}
	return writeFile(d.file(identityFile), append(b, '\n'))
}

// leafKeys are the private keys of the node's two certificates, from before they are signed.
type leafKeys struct{ peer, api *ecdsa.PrivateKey }

func newLeafKeys() (leafKeys, error) {
	p, err := pki.NewKey()
	if err != nil {
		return leafKeys{}, fmt.Errorf("make the node's keys: %w", err)
	}
	a, err := pki.NewKey()
	if err != nil {
		return leafKeys{}, fmt.Errorf("make the node's keys: %w", err)
	}
	return leafKeys{p, a}, nil
}

// joinKeys are the keys with which this machine asks to join: made once, so that a repetition is known to come from it.
func (d *dataDir) joinKeys() (leafKeys, error) {
	b, err := os.ReadFile(d.file(joinPEM))
	if errors.Is(err, os.ErrNotExist) {
		keys, err := newLeafKeys()
		if err != nil {
			return leafKeys{}, err
		}
		return keys, d.saveJoinKeys(keys)
	}
	if err != nil {
		return leafKeys{}, fmt.Errorf("read the keys to join with: %w", err)
	}
	var found []*ecdsa.PrivateKey
	for block, rest := pem.Decode(b); block != nil; block, rest = pem.Decode(rest) {
		key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		if k, ok := key.(*ecdsa.PrivateKey); err == nil && ok {
			found = append(found, k)
		}
	}
	if len(found) != 2 {
		return leafKeys{}, fmt.Errorf("read %s: it is damaged; wipe the data directory and join again", d.file(joinPEM))
	}
	return leafKeys{peer: found[0], api: found[1]}, nil
}

func (d *dataDir) saveJoinKeys(k leafKeys) error {
	var out []byte
	for _, key := range []*ecdsa.PrivateKey{k.peer, k.api} {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			return fmt.Errorf("write the keys to join with: %w", err)
		}
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})...)
	}
	return writeFile(d.file(joinPEM), out)
}

func (d *dataDir) dropJoinKeys() error {
	if err := os.Remove(d.file(joinPEM)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove the keys to join with: %w", err)
	}
	return nil
}

// saveLeaf writes a certificate with its key and its authority to one PEM file.
func (d *dataDir) saveLeaf(name string, cert tls.Certificate) error {
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	var out []byte
	for _, der := range cert.Certificate {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	out = append(out, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})...)
	return writeFile(d.file(name), out)
}

func (d *dataDir) leaf(name string) (tls.Certificate, error) {
	cert, err := tls.LoadX509KeyPair(d.file(name), d.file(name))
	if err != nil {
		return cert, fmt.Errorf("read the node's certificate %s: %w", d.file(name), err)
	}
	return cert, nil
}

// saveAuthorities writes the certificates of the authorities that are trusted, the one that signs first. Clients read it, too: it is what
// OS_CACERT names.
func (d *dataDir) saveAuthorities(ders ...[]byte) error {
	var out []byte
	for _, der := range ders {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	return writeFile(d.file(authorityPEM), out)
}

// authorities reads who is trusted; there is at least one.
func (d *dataDir) authorities() (pki.Trusted, error) {
	b, err := os.ReadFile(d.file(authorityPEM))
	if err != nil {
		return nil, fmt.Errorf("read the cluster's authority: %w", err)
	}
	var ders [][]byte
	for block, rest := pem.Decode(b); block != nil; block, rest = pem.Decode(rest) {
		ders = append(ders, block.Bytes)
	}
	if len(ders) == 0 {
		return nil, fmt.Errorf("read the cluster's authority: %s is not PEM", d.file(authorityPEM))
	}
	return pki.ParseTrusted(ders)
}

// writeFile replaces a file as a whole, or leaves it as it was, also through a loss of power.
func writeFile(path string, content []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), ".new-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(content)
	if err == nil {
		err = tmp.Sync()
	}
	if cerr := tmp.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}
