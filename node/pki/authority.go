package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"time"

	"github.com/kilonova/kilonova/cluster"
)

// How long certificates last. A node renews its own when a third of the time is left; the authority outlives
// any machine and is replaced by rotation.
const (
	AuthorityLifetime = 20 * 365 * 24 * time.Hour
	NodeLifetime      = 90 * 24 * time.Hour

	// backdate allows for clocks that differ between the signer and whoever verifies.
	backdate = time.Hour
)

// Role says what a certificate is for.
type Role string

// The roles.
const (
	RolePeer Role = "peer" // both ends of the peer port
	RoleAPI  Role = "api"  // the server end of the API
)

// Authority signs the certificates of one cluster.
type Authority struct {
	cert *x509.Certificate
	key  crypto.Signer // nil: can verify only
}

// NewAuthority makes an authority for a new cluster.
func NewAuthority(clusterID string, now time.Time) (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make the authority's key: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber:          serial(),
		Subject:               pkix.Name{CommonName: "Kilonova cluster " + clusterID},
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(AuthorityLifetime),
		IsCA:                  true,
		BasicConstraintsValid: true,
		MaxPathLenZero:        true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		URIs:                  []*url.URL{{Scheme: "kilonova", Host: clusterID}},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("sign the authority's certificate: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("read the authority's certificate back: %w", err)
	}
	return &Authority{cert: cert, key: key}, nil
}

// ParseAuthority reads an authority from its DER certificate and PKCS#8 key. Without a key it verifies only.
func ParseAuthority(certDER, keyPKCS8 []byte) (*Authority, error) {
	cert, err := x509.ParseCertificate(certDER)
	if err != nil {
		return nil, fmt.Errorf("read the authority's certificate: %w", err)
	}
	if !cert.IsCA {
		return nil, errors.New("read the authority's certificate: it is not an authority")
	}
	a := &Authority{cert: cert}
	if len(keyPKCS8) == 0 {
		return a, nil
	}
	key, err := x509.ParsePKCS8PrivateKey(keyPKCS8)
	if err != nil {
		return nil, fmt.Errorf("read the authority's key: %w", err)
	}
	signer, ok := key.(*ecdsa.PrivateKey)
	if !ok || !signer.PublicKey.Equal(cert.PublicKey) {
		return nil, errors.New("read the authority's key: it does not belong to the certificate")
	}
	a.key = signer
	return a, nil
}

// CertDER is the authority's certificate.
func (a *Authority) CertDER() []byte { return a.cert.Raw }

// KeyPKCS8 is the authority's private key; nil when it can verify only.
func (a *Authority) KeyPKCS8() ([]byte, error) {
	if a.key == nil {
		return nil, nil
	}
	return x509.MarshalPKCS8PrivateKey(a.key)
}

// Fingerprint is what a join token pins: the SHA-256 of the authority's certificate.
func (a *Authority) Fingerprint() cluster.Hash { return sha256.Sum256(a.cert.Raw) }

// ClusterID is the cluster that the authority signs for.
func (a *Authority) ClusterID() string {
	for _, u := range a.cert.URIs {
		if u.Scheme == "kilonova" {
			return u.Host
		}
	}
	return ""
}

// Pool holds the authority's certificate alone.
func (a *Authority) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

// Subject is whom a certificate is for.
type Subject struct {
	Role    Role
	Node    cluster.NodeID
	Name    string // host name, also a DNS name of the certificate
	Address string // IP address
}

// Sign gives the holder of the key in a PKCS#10 request a certificate for a subject. Only the key is taken from the
// request: the signer decides on everything else.
func (a *Authority) Sign(csrDER []byte, s Subject, now time.Time) ([]byte, error) {
	if a.key == nil {
		return nil, errors.New("sign a certificate: the authority's key is not here")
	}
	csr, err := x509.ParseCertificateRequest(csrDER)
	if err != nil {
		return nil, fmt.Errorf("read the signing request: %w", err)
	}
	if err := csr.CheckSignature(); err != nil {
		return nil, fmt.Errorf("check the signing request: %w", err)
	}
	if k, ok := csr.PublicKey.(*ecdsa.PublicKey); !ok || k.Curve != elliptic.P256() {
		return nil, errors.New("check the signing request: the key is not ECDSA P-256")
	}
	template := a.leaf(s, now)
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, csr.PublicKey, a.key)
	if err != nil {
		return nil, fmt.Errorf("sign the certificate of %s: %w", s.Node, err)
	}
	return der, nil
}

func (a *Authority) leaf(s Subject, now time.Time) *x509.Certificate {
	usage := []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	if s.Role == RolePeer {
		usage = append(usage, x509.ExtKeyUsageClientAuth)
	}
	t := &x509.Certificate{
		SerialNumber: serial(),
		Subject:      pkix.Name{CommonName: string(s.Node), OrganizationalUnit: []string{string(s.Role)}},
		NotBefore:    now.Add(-backdate),
		NotAfter:     now.Add(NodeLifetime),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  usage,
		URIs:         []*url.URL{{Scheme: "kilonova", Host: a.ClusterID(), Path: "/" + string(s.Role) + "/" + string(s.Node)}},
		DNSNames:     []string{"localhost"},
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	}
	if ip := net.ParseIP(s.Address); ip != nil {
		t.IPAddresses = append(t.IPAddresses, ip)
	}
	if s.Name != "" && s.Name != "localhost" {
		t.DNSNames = append(t.DNSNames, s.Name)
	}
	return t
}

// serial draws a random positive serial number of 127 bits (RFC 5280 allows 20 octets).
func serial() *big.Int {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		panic("pki: the system's random source failed: " + err.Error())
	}
	return n.Add(n, big.NewInt(1))
}
