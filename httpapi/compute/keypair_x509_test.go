package compute_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"slices"
	"strings"
	"testing"
	"time"
)

// A Windows user asks for a certificate: the private key goes with it, it names them as WinRM asks, and it can be given for another
// pair, which then has the same fingerprint.
func TestKeyPairs_CertificatesAreMadeAndTaken(t *testing.T) {
	l := newLab(t)
	made := l.do("demo", "2.2", "POST", "/os-keypairs", object{"keypair": object{"name": "win", "type": "x509"}}).want(201)
	public, private, user := made.text("keypair", "public_key"), made.text("keypair", "private_key"), string(l.Users["demo"])
	if made.text("keypair", "type") != "x509" {
		t.Errorf("%s", made.body)
	}
	if _, err := tls.X509KeyPair([]byte(public), []byte(private)); err != nil {
		t.Errorf("the key does not fit: %v", err)
	}
	block, _ := pem.Decode([]byte(public))
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	if c.Subject.CommonName != user || !slices.Equal(c.ExtKeyUsage, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}) ||
		c.NotAfter.Sub(c.NotBefore) != 10*365*24*time.Hour {
		t.Errorf("%s is good for %v from %s to %s", c.Subject, c.ExtKeyUsage, c.NotBefore, c.NotAfter)
	}
	named := false
	for _, e := range c.Extensions {
		if !e.Id.Equal(asn1.ObjectIdentifier{2, 5, 29, 17}) {
			continue
		}
		// As "openssl req -addext subjectAltName=otherName:1.3.6.1.4.1.311.20.2.3;UTF8:u@localhost" writes it.
		n := byte(len(user) + len("@localhost"))
		want := slices.Concat([]byte{0x30, n + 18, 0xa0, n + 16, 0x06, 0x0a, 0x2b, 0x06, 0x01, 0x04, 0x01, 0x82, 0x37, 0x14, 0x02, 0x03, 0xa0, n + 2, 0x0c, n},
			[]byte(user+"@localhost"))
		if !bytes.Equal(e.Value, want) {
			t.Errorf("the user is named as %x, want %x", e.Value, want)
		}
		named = true
	}
	if !named {
		t.Error("nothing says which Windows user it is for")
	}

	given := l.do("demo", "2.92", "POST", "/os-keypairs", object{"keypair": object{"name": "again", "type": "x509", "public_key": public}}).want(201)
	shown := l.do("demo", "2.2", "GET", "/os-keypairs/again", nil).want(200)
	if given.at("keypair", "private_key") != nil || shown.text("keypair", "type") != "x509" ||
		shown.text("keypair", "fingerprint") != made.text("keypair", "fingerprint") || strings.Count(shown.text("keypair", "fingerprint"), ":") != 19 {
		t.Errorf("%s\n%s", given.body, shown.body)
	}
}

// What is no certificate is refused, and so is one with more behind it: it would reach guests.
func TestKeyPairs_BadCertificatesAreRefused(t *testing.T) {
	l := newLab(t)
	good := l.do("demo", "2.2", "POST", "/os-keypairs", object{"keypair": object{"name": "win", "type": "x509"}}).want(201).text("keypair", "public_key")
	for name, key := range map[string]string{
		"an SSH key":         publicKey(t),
		"two":                good + good,
		"words before":       "x\n" + good,
		"words behind":       good + "x",
		"cut off":            good[:len(good)/2],
		"no certificate":     strings.ReplaceAll(good, "CERTIFICATE", "PUBLIC KEY"),
		"bytes of something": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
		"empty":              " ",
	} {
		l.do("demo", "2.92", "POST", "/os-keypairs", object{"keypair": object{"name": "x", "type": "x509", "public_key": key}}).
			fails(400, "Keypair data is invalid: failed to generate X509 fingerprint")
		if _, there := l.Local().KeyPair(l.Users["demo"], "x"); there {
			t.Fatalf("%s is a key pair", name)
		}
	}
}
