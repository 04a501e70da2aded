package pki

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"strings"

	"github.com/kilonova/kilonova/cluster"
)

// A join token reads "kn1." and then, in unpadded base64url: its ID (8 bytes), its secret (32 bytes), the
// authority's fingerprint (32 bytes), and a checksum (4 bytes of the SHA-256 of all that) against typing errors.
const (
	tokenPrefix = "kn1."
	idBytes     = 8
	secretBytes = 32
	sumBytes    = 4
)

// JoinToken is what an operator carries from the cluster to a new machine.
type JoinToken struct {
	ID     cluster.TokenID
	Secret []byte
	Pin    cluster.Hash // fingerprint of the cluster's authority
}

// NewJoinToken draws a token for the cluster of an authority.
func NewJoinToken(a *Authority) JoinToken {
	b := make([]byte, idBytes+secretBytes)
	rand.Read(b) // never fails: crypto/rand ends the program instead
	return JoinToken{ID: cluster.TokenID(hex.EncodeToString(b[:idBytes])), Secret: b[idBytes:], Pin: a.Fingerprint()}
}

// SecretHash is what the cluster keeps of the token.
func (t JoinToken) SecretHash() cluster.Hash { return sha256.Sum256(t.Secret) }

// String gives the token as the operator copies it. It holds the secret: do not log it.
func (t JoinToken) String() string {
	id, err := hex.DecodeString(string(t.ID))
	if err != nil || len(id) != idBytes {
		panic("pki: a join token's ID is not 8 bytes of hexadecimal digits")
	}
	b := append(append(id, t.Secret...), t.Pin[:]...)
	sum := sha256.Sum256(b)
	return tokenPrefix + base64.RawURLEncoding.EncodeToString(append(b, sum[:sumBytes]...))
}

// ParseJoinToken reads a token. The error never holds any of it.
func ParseJoinToken(s string) (JoinToken, error) {
	body, ok := strings.CutPrefix(strings.TrimSpace(s), tokenPrefix)
	if !ok {
		return JoinToken{}, errors.New(`this is not a join token: it does not begin with "kn1."`)
	}
	b, err := base64.RawURLEncoding.DecodeString(body)
	if err != nil || len(b) != idBytes+secretBytes+len(cluster.Hash{})+sumBytes {
		return JoinToken{}, errors.New("this is not a whole join token: was part of it lost in copying?")
	}
	data, sum := b[:len(b)-sumBytes], sha256.Sum256(b[:len(b)-sumBytes])
	if !bytes.Equal(sum[:sumBytes], b[len(b)-sumBytes:]) {
		return JoinToken{}, errors.New("the join token has a typing error: its checksum is wrong")
	}
	return JoinToken{
		ID:     cluster.TokenID(hex.EncodeToString(data[:idBytes])),
		Secret: data[idBytes : idBytes+secretBytes],
		Pin:    cluster.Hash(data[idBytes+secretBytes:]),
	}, nil
}
