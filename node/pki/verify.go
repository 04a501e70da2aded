package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
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
	return nil, errors.New("the token is for another cluster: the authority's fingerprint differs")
}
