package volume

import (
	"crypto/rand"
	"encoding/base64"
)

// newPassphrase draws the key of an encrypted volume: 256 random bits, as text. It is kept in the replicated state, which only peers
// hold. So it protects from whoever gets hold of the volume's file alone, a disk that is thrown away or the server of a shared directory,
// and not from who is root on a node.
func newPassphrase() []byte {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand stops the program instead
	return []byte(base64.StdEncoding.EncodeToString(b[:]))
}
