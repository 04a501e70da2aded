package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/kilonova/kilonova/cluster"
)

// NewKey makes a node's private key.
func NewKey() (*ecdsa.PrivateKey, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) }

// Request makes a PKCS#10 signing request for a key.
func Request(key *ecdsa.PrivateKey) ([]byte, error) {
	return x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
}

// KeyOf is the SHA-256 of the public key (SubjectPublicKeyInfo, RFC 5280) that a PKCS#10 request is for. It is an error when
// whoever made the request has not the key.
func KeyOf(csrDER []byte) (cluster.Hash, error) {
	csr, err := x509.ParseCertificateRequest(csrDER)
	if err != nil {
		return cluster.Hash{}, fmt.Errorf("read the signing request: %w", err)
	}
	if err := csr.CheckSignature(); err != nil {
		return cluster.Hash{}, fmt.Errorf("check the signing request: %w", err)
	}
	return sha256.Sum256(csr.RawSubjectPublicKeyInfo), nil
}

// Leaf pairs a DER certificate with its key and with the authority that signed it, so that whoever pins the authority
// is shown it in the handshake.
func Leaf(certDER []byte, key *ecdsa.PrivateKey, authorityDER []byte) tls.Certificate {
	parsed, _ := x509.ParseCertificate(certDER) // a handshake parses again and reports the error
	return tls.Certificate{Certificate: [][]byte{certDER, authorityDER}, PrivateKey: key, Leaf: parsed}
}

// RenewalDue tells whether less than a third of a certificate's life is left.
func RenewalDue(c *x509.Certificate, now time.Time) bool {
	return c == nil || now.After(c.NotAfter.Add(-c.NotAfter.Sub(c.NotBefore)/3))
}

// IsFor tells whether a certificate names a host and an IP address.
func IsFor(c *x509.Certificate, host, address string) bool {
	ip := net.ParseIP(address)
	return c != nil && slices.Contains(c.DNSNames, host) && slices.ContainsFunc(c.IPAddresses, ip.Equal)
}

// VerifyPeer checks that a handshake's chain begins with a certificate that the authority signed for the role, for
// its own cluster, and returns the node that it names.
func (a *Authority) VerifyPeer(chain []*x509.Certificate, role Role, now time.Time) (cluster.NodeID, error) {
	if len(chain) == 0 {
		return "", errors.New("the other side showed no certificate")
	}
	usage := x509.ExtKeyUsageServerAuth
	_, err := chain[0].Verify(x509.VerifyOptions{Roots: a.Pool(), CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{usage}})
	if err != nil {
		return "", fmt.Errorf("the certificate is not of this cluster: %w", err)
	}
	prefix := "/" + string(role) + "/"
	for _, u := range chain[0].URIs {
		if u.Scheme != "kilonova" || u.Host != a.ClusterID() {
			continue
		}
		if id, ok := strings.CutPrefix(u.Path, prefix); ok && id != "" {
			return cluster.NodeID(id), nil
		}
	}
	return "", fmt.Errorf("the certificate has not the role %s in this cluster", role)
}

// Trusted are the authorities whose certificates are accepted: one, or two while the cluster's authority is rotated.
type Trusted []*Authority

// VerifyPeer is Authority.VerifyPeer with any of them.
func (t Trusted) VerifyPeer(chain []*x509.Certificate, role Role, now time.Time) (cluster.NodeID, error) {
	refused := errors.New("no authority is trusted")
	for _, a := range t {
		id, err := a.VerifyPeer(chain, role, now)
		if err == nil {
			return id, nil
		}
		refused = err
	}
	return "", refused
}

// Has tells whether one of them has a fingerprint.
func (t Trusted) Has(fingerprint cluster.Hash) bool {
	return slices.ContainsFunc(t, func(a *Authority) bool { return a.Fingerprint() == fingerprint })
}

// ParseTrusted reads authorities from DER certificates, to verify with.
func ParseTrusted(certs [][]byte) (Trusted, error) {
	var all Trusted
	for _, der := range certs {
		a, err := ParseAuthority(der, nil)
		if err != nil {
			return nil, err
		}
		all = append(all, a)
	}
	return all, nil
}

// Signed tells whether the authority signed a certificate.
func (a *Authority) Signed(c *x509.Certificate) bool {
	return c != nil && c.CheckSignatureFrom(a.cert) == nil
}

// PinName is what a machine that knows a cluster by a fingerprint says in the handshake (as the server's name, RFC 6066), so that a node which
// has certificates of two authorities shows the right one. A fingerprint is no secret.
func PinName(pin cluster.Hash) string {
	text := hex.EncodeToString(pin[:])
	return text[:len(text)/2] + "." + text[len(text)/2:] + ".kilonova"
}

// AuthorityOf finds the certificate with a pinned fingerprint among those that a server showed, and checks that the
// server's own certificate is of that authority. It is how a joining machine knows the cluster before it tells its secret.
func AuthorityOf(chain []*x509.Certificate, pin cluster.Hash, now time.Time) (*Authority, error) {
	for _, c := range chain {
		a := &Authority{cert: c}
		if !c.IsCA || a.Fingerprint() != pin {
			continue
		}
		if _, err := a.VerifyPeer(chain, RolePeer, now); err != nil {
			return nil, err
		}
		return a, nil
	}
	return nil, errors.New("the token is for another cluster, or the cluster's authority was replaced since it was made: " +
		"the fingerprint differs; make a new one there with `kilonova node token create`")
}
