package compute

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"
	"time"
)

// Key pairs of type x509 are for Windows guests: their key is a certificate that WinRM knows a client by.
const (
	keySSH  = "ssh"
	keyX509 = "x509"

	certificateLife = 10 * 365 * 24 * time.Hour // as Nova's
	serialBits      = 127
)

// A Windows user is named in a certificate as an "other name" of its subject, by the user principal name: RFC 5280, section
// 4.2.1.6, and Microsoft's [MS-WCCE], section 2.2.2.7.7.4.
var (
	oidSubjectAltName = asn1.ObjectIdentifier{2, 5, 29, 17}
	oidPrincipalName  = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 20, 2, 3}
)

// certificateFingerprint gives the SHA-1 fingerprint of a certificate in PEM, as Nova shows it. There has to be one certificate
// and nothing else.
func certificateFingerprint(public string) (string, error) {
	wrong := bad("Keypair data is invalid: failed to generate X509 fingerprint")
	block, rest := pem.Decode([]byte(strings.TrimSpace(public)))
	if block == nil || block.Type != "CERTIFICATE" || len(strings.TrimSpace(string(rest))) > 0 ||
		!strings.HasPrefix(strings.TrimSpace(public), "-----BEGIN CERTIFICATE-----") {
		return "", wrong
	}
	if _, err := x509.ParseCertificate(block.Bytes); err != nil {
		return "", wrong
	}
	sum := sha1.Sum(block.Bytes)
	return strings.ReplaceAll(fmt.Sprintf("% x", sum[:]), " ", ":"), nil
}

// generateCertificate makes a key, and a certificate for it by which a guest may let a user in.
func generateCertificate(c *call, user string) (public, private string, err error) {
	key, err := generateRSA(c)
	if err != nil {
		return "", "", err
	}
	name, err := principalName(user + "@localhost")
	if err != nil {
		return "", "", fmt.Errorf("name the subject of a certificate: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), serialBits))
	if err != nil {
		return "", "", fmt.Errorf("draw a serial number: %w", err)
	}
	now := c.Now()
	t := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: user}, NotBefore: now, NotAfter: now.Add(certificateLife),
		ExtKeyUsage:     []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		ExtraExtensions: []pkix.Extension{name},
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, &key.PublicKey, key)
	if err != nil {
		return "", "", fmt.Errorf("sign certificate: %w", err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return "", "", fmt.Errorf("encode private key: %w", err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})), nil
}

// principalName is the extension that holds a user principal name.
func principalName(name string) (pkix.Extension, error) {
	type otherName struct {
		Type  asn1.ObjectIdentifier
		Value string `asn1:"tag:0,explicit,utf8"`
	}
	other, err := asn1.MarshalWithParams(otherName{oidPrincipalName, name}, "tag:0")
	if err != nil {
		return pkix.Extension{}, err
	}
	all, err := asn1.Marshal([]asn1.RawValue{{FullBytes: other}})
	return pkix.Extension{Id: oidSubjectAltName, Value: all}, err
}

// generateRSA makes a key. It takes a good part of a second of CPU, so only one is made at a time.
func generateRSA(c *call) (*rsa.PrivateKey, error) {
	select {
	case c.keyGen <- struct{}{}:
		defer func() { <-c.keyGen }()
	case <-c.r.Context().Done():
		return nil, c.r.Context().Err()
	}
	key, err := rsa.GenerateKey(rand.Reader, keyBits)
	if err != nil {
		return nil, fmt.Errorf("generate key pair: %w", err)
	}
	return key, nil
}
