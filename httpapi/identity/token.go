package identity

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/rest"
	"github.com/kilonova/kilonova/httpapi/rest/recent"
)

const (
	// DefaultLifetime is how long a token is valid: Keystone's default.
	DefaultLifetime = time.Hour

	tokenPrefix  = "kt1." // version of the format: prefix, key ID, payload, signature, with dots between
	maxToken     = 4096   // bytes; more is not read
	auditBytes   = 16
	maxAncestors = 32 // tokens that a token remembers having been made from
	cachedTokens = 20000
)

// claims is what a token says. Its short names are on the wire: fields may be added, never renamed.
type claims struct {
	User    cluster.UserID       `json:"u"`
	Project cluster.ProjectID    `json:"p,omitempty"`
	System  bool                 `json:"s,omitempty"`
	Methods []string             `json:"m"`
	Issued  cluster.Time         `json:"i"`
	Expires cluster.Time         `json:"e"`
	Audit   []cluster.TokenID    `json:"a"` // its own ID, then those it was made from, the nearest first
	Cred    cluster.CredentialID `json:"c,omitempty"`
}

// id is the token's own audit ID.
func (c *claims) id() cluster.TokenID { return c.Audit[0] }

// shownAudit is what the API shows: its own ID and that of the first of the chain.
func (c *claims) shownAudit() []cluster.TokenID {
	if len(c.Audit) == 1 {
		return c.Audit
	}
	return []cluster.TokenID{c.Audit[0], c.Audit[len(c.Audit)-1]}
}

// descend gives the audit IDs of a token made from c. A chain that got too long forgets its middle, never its first.
func (c *claims) descend() []cluster.TokenID {
	chain := append([]cluster.TokenID{newAuditID()}, c.Audit...)
	if len(chain) > maxAncestors {
		chain = append(chain[:maxAncestors-1], chain[len(chain)-1])
	}
	return chain
}

func newAuditID() cluster.TokenID {
	var b [auditBytes]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand stops the program instead
	return cluster.TokenID(base64.RawURLEncoding.EncodeToString(b[:]))
}

// Tokens signs and verifies tokens.
type Tokens struct {
	lifetime time.Duration
	verified *recent.Map[[sha256.Size]byte, *signed] // tokens whose signature was good
	keys     sync.Map                                // string(seed) -> ed25519.PrivateKey
}

// signed is a token whose signature was found good with a key.
type signed struct {
	claims *claims
	key    string // its ID
	seed   []byte
}

// NewTokens makes Tokens whose tokens live that long; 0 means DefaultLifetime.
func NewTokens(lifetime time.Duration) *Tokens {
	if lifetime <= 0 {
		lifetime = DefaultLifetime
	}
	return &Tokens{lifetime: lifetime, verified: recent.New[[sha256.Size]byte, *signed](cachedTokens)}
}

// NewSigningKey makes a key for cluster.Authority.TokenKeys.
func NewSigningKey(now cluster.Time) cluster.SigningKey {
	seed := make([]byte, ed25519.SeedSize)
	_, _ = rand.Read(seed) // never fails: crypto/rand stops the program instead
	return cluster.SigningKey{ID: rest.NewHexID()[:8], Seed: seed, Created: now}
}

// sign makes a token of claims with the newest key.
func (t *Tokens) sign(view *cluster.View, c *claims) (string, error) {
	a := view.Authority()
	if a == nil || len(a.TokenKeys) == 0 {
		return "", cluster.Errorf(cluster.Unavailable, "The cluster has no key to sign tokens with yet.")
	}
	payload, err := json.Marshal(c)
	if err != nil {
		return "", fmt.Errorf("encode token: %w", err)
	}
	key := a.TokenKeys[0]
	text := tokenPrefix + key.ID + "." + base64.RawURLEncoding.EncodeToString(payload)
	sig := ed25519.Sign(t.private(key.Seed), []byte(text))
	return text + "." + base64.RawURLEncoding.EncodeToString(sig), nil
}

// private expands a seed, which costs as much as verifying a signature, once.
func (t *Tokens) private(seed []byte) ed25519.PrivateKey {
	if k, ok := t.keys.Load(string(seed)); ok {
		return k.(ed25519.PrivateKey)
	}
	k := ed25519.NewKeyFromSeed(seed)
	t.keys.Store(string(seed), k)
	return k
}

// read gives what a token says if one of the cluster's keys signed it; whether it still holds is another question.
func (t *Tokens) read(view *cluster.View, token string) (*claims, error) {
	if len(token) > maxToken {
		return nil, refuse("token is too long")
	}
	sum := sha256.Sum256([]byte(token)) // the cache must not hold tokens themselves
	if s, ok := t.verified.Get(sum); ok {
		if key, ok := signingKey(view, s.key); ok && bytes.Equal(key.Seed, s.seed) {
			return s.claims, nil
		}
		return nil, refuse("token was signed with a key that is gone")
	}
	text, sig, keyID, err := split(token)
	if err != nil {
		return nil, err
	}
	key, ok := signingKey(view, keyID)
	if !ok || len(key.Seed) != ed25519.SeedSize {
		return nil, refuse("token was signed with an unknown key")
	}
	if !ed25519.Verify(t.private(key.Seed).Public().(ed25519.PublicKey), []byte(text), sig) {
		return nil, refuse("token has a bad signature")
	}
	c, err := decodeClaims(text)
	if err != nil {
		return nil, err
	}
	t.verified.Put(sum, &signed{claims: c, key: keyID, seed: key.Seed})
	return c, nil
}

// split takes a token apart: what was signed, the signature, and the ID of the key.
func split(token string) (text string, sig []byte, keyID string, err error) {
	if !strings.HasPrefix(token, tokenPrefix) || strings.Count(token, ".") != 3 {
		return "", nil, "", refuse("not a token")
	}
	dot := strings.LastIndexByte(token, '.')
	sig, err = base64.RawURLEncoding.Strict().DecodeString(token[dot+1:])
	if err != nil || len(sig) != ed25519.SignatureSize {
		return "", nil, "", refuse("token has no signature")
	}
	keyID, _, _ = strings.Cut(token[len(tokenPrefix):], ".")
	return token[:dot], sig, keyID, nil
}

func decodeClaims(text string) (*claims, error) {
	payload, err := base64.RawURLEncoding.Strict().DecodeString(text[strings.LastIndexByte(text, '.')+1:])
	if err != nil {
		return nil, refuse("token has a bad payload")
	}
	var c claims
	if err := json.Unmarshal(payload, &c); err != nil || len(c.Audit) == 0 || c.User == "" {
		return nil, refuse("token has a bad payload")
	}
	return &c, nil
}

func signingKey(view *cluster.View, id string) (cluster.SigningKey, bool) {
	if a := view.Authority(); a != nil {
		for _, k := range a.TokenKeys {
			if k.ID == id {
				return k, true
			}
		}
	}
	return cluster.SigningKey{}, false
}

// refuse is why somebody is not let in. The reason is for the log: clients are told the same whatever it is.
func refuse(reason string) *cluster.Error { return cluster.Errorf(cluster.Unauthorized, "%s", reason) }
