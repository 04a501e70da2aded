package identity

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"strings"

	"golang.org/x/crypto/argon2"

	"github.com/kilonova/kilonova/cluster"
)

// The cost of a password hash: OWASP's second choice for argon2id, which needs little memory.
const (
	argonMemoryKiB = 19 * 1024
	argonPasses    = 2
	argonLanes     = 1
	saltBytes      = 16
	hashBytes      = 32

	// What a stored hash may cost at most, so that nobody can make a login exhaust the node.
	maxMemoryKiB = 64 * 1024
	maxPasses    = 10
	maxLanes     = 4
	maxHashBytes = 64

	maxPassword = 4096 // bytes; Keystone's max_password_length
)

// HashPassword gives the PHC string of a password (argon2id). It takes some tens of milliseconds and 19 MiB.
func HashPassword(password string) (string, error) {
	if password == "" || len(password) > maxPassword {
		return "", cluster.Errorf(cluster.Invalid, "A password has 1 to %d bytes.", maxPassword)
	}
	salt := make([]byte, saltBytes)
	_, _ = rand.Read(salt) // never fails: crypto/rand stops the program instead
	hash := argon2.IDKey([]byte(password), salt, argonPasses, argonMemoryKiB, argonLanes, hashBytes)
	b64 := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, argonMemoryKiB, argonPasses, argonLanes,
		b64.EncodeToString(salt), b64.EncodeToString(hash)), nil
}

// phc is a parsed password hash.
type phc struct {
	memoryKiB, passes uint32
	lanes             uint8
	salt, hash        []byte
}

// parsePHC reads a PHC string of argon2id whose cost is bounded.
func parsePHC(s string) (phc, error) {
	var p phc
	parts := strings.Split(s, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" {
		return p, fmt.Errorf("parse password hash: not argon2id")
	}
	var version int
	if _, err := fmt.Sscanf(parts[2], "v=%d", &version); err != nil || version != argon2.Version {
		return p, fmt.Errorf("parse password hash: unknown version")
	}
	if _, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &p.memoryKiB, &p.passes, &p.lanes); err != nil {
		return p, fmt.Errorf("parse password hash: bad parameters")
	}
	if p.memoryKiB > maxMemoryKiB || p.passes < 1 || p.passes > maxPasses || p.lanes < 1 || p.lanes > maxLanes {
		return p, fmt.Errorf("parse password hash: parameters out of bounds")
	}
	var err error
	if p.salt, err = base64.RawStdEncoding.DecodeString(parts[4]); err != nil || len(p.salt) > maxHashBytes {
		return p, fmt.Errorf("parse password hash: bad salt")
	}
	if p.hash, err = base64.RawStdEncoding.DecodeString(parts[5]); err != nil || len(p.hash) < 16 || len(p.hash) > maxHashBytes {
		return p, fmt.Errorf("parse password hash: bad hash")
	}
	return p, nil
}

// matches tells whether a password has this hash, in a time that does not depend on the answer.
func (p phc) matches(password string) bool {
	hash := argon2.IDKey([]byte(password), p.salt, p.passes, p.memoryKiB, p.lanes, uint32(len(p.hash)))
	return subtle.ConstantTimeCompare(hash, p.hash) == 1
}

// nobody is the hash of a password that nobody has: it makes an unknown user cost as much as a known one.
var nobody = phc{memoryKiB: argonMemoryKiB, passes: argonPasses, lanes: argonLanes, salt: make([]byte, saltBytes), hash: make([]byte, hashBytes)}
