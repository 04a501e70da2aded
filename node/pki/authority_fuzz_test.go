package pki

import (
	"testing"
	"time"
)

// Whatever is said to be an authority's certificate and key, it is an authority that owns the key, or refused.
func FuzzParseAuthority(f *testing.F) {
	a, err := NewAuthority("c1", time.Unix(1_800_000_000, 0))
	if err != nil {
		f.Fatal(err)
	}
	key, err := a.KeyPKCS8()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(a.CertDER(), key)
	f.Add(a.CertDER(), []byte{})
	f.Add(a.CertDER()[:100], key[:10])
	f.Add([]byte{}, []byte{})
	f.Fuzz(func(t *testing.T, cert, key []byte) {
		a, err := ParseAuthority(cert, key)
		if err != nil {
			return
		}
		if _, err := a.KeyPKCS8(); !a.cert.IsCA || err != nil {
			t.Errorf("took what is no authority: %v", err)
		}
		if _, err := ParseTrusted([][]byte{a.CertDER()}); err != nil {
			t.Errorf("an authority is not trusted: %v", err)
		}
	})
}
