package libvirt

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// What a server of network block devices says: the NBD protocol, "doc/proto.md" of the reference implementation, in its fixed newstyle with
// structured replies, which QEMU's client and server speak with each other.
const (
	nbdGreeting   = "NBDMAGICIHAVEOPT"
	nbdOption     = 0x0003e889045565a9 // begins the answer to an option
	nbdSimple     = 0x67446698         // a simple reply
	nbdStructured = 0x668e33ef         // a chunk of a structured reply
	nbdGo         = 7                  // the option that ends the haggling
	nbdAck        = 1                  // the answer that accepts an option
	nbdErrorChunk = 1 << 15            // of a chunk's type
)

// The lengths of the headers, in bytes.
const (
	greetingBytes   = len(nbdGreeting) + 2
	optionBytes     = 20
	simpleBytes     = 16
	structuredBytes = 20
	magicBytes      = 4
)

// errAnswered says that a server could not do what it was asked.
var errAnswered = errors.New("the server answers with an error")

// nbdAnswers follows what a server says, in pieces of any size, and finds errors among its answers. The zero value is ready.
type nbdAnswers struct {
	phase nbdPhase
	head  []byte // of what comes next, as far as it came
	skip  uint64 // bytes of content that are of no interest
	bad   error
}

type nbdPhase int

const (
	nbdGreets nbdPhase = iota
	nbdHaggles
	nbdServes
)

// take gives the first error in what was said, by name of what it is; it stays.
func (a *nbdAnswers) take(p []byte) error {
	for len(p) > 0 && a.bad == nil {
		if a.skip > 0 {
			n := min(a.skip, uint64(len(p)))
			a.skip -= n
			p = p[n:]
			continue
		}
		want := a.want()
		n := min(want-len(a.head), len(p))
		a.head = append(a.head, p[:n]...)
		p = p[n:]
		if len(a.head) == want {
			a.bad = a.read()
		}
	}
	return a.bad
}

// want is how long the header is that is being read, as far as is known by now.
func (a *nbdAnswers) want() int {
	switch {
	case a.phase == nbdGreets:
		return greetingBytes
	case a.phase == nbdHaggles:
		return optionBytes
	case len(a.head) < magicBytes:
		return magicBytes
	case binary.BigEndian.Uint32(a.head) == nbdSimple:
		return simpleBytes
	}
	return structuredBytes
}

// read takes in a whole header, or, of a reply, its magic number.
func (a *nbdAnswers) read() error {
	h := a.head
	switch a.phase {
	case nbdGreets:
		if string(h[:len(nbdGreeting)]) != nbdGreeting {
			return errors.New("the server speaks another protocol")
		}
		a.phase = nbdHaggles
	case nbdHaggles:
		if binary.BigEndian.Uint64(h) != nbdOption {
			return errors.New("the server answers an option in another protocol")
		}
		option, kind := binary.BigEndian.Uint32(h[8:]), binary.BigEndian.Uint32(h[12:])
		if a.skip = uint64(binary.BigEndian.Uint32(h[16:])); option == nbdGo && kind == nbdAck {
			a.phase = nbdServes
		}
	case nbdServes:
		if len(h) == magicBytes {
			if m := binary.BigEndian.Uint32(h); m != nbdSimple && m != nbdStructured {
				return fmt.Errorf("the server replies with %#x", m)
			}
			return nil // the rest of the header comes
		}
		return a.reply(h)
	}
	a.head = a.head[:0]
	return nil
}

// reply takes in the header of a reply.
func (a *nbdAnswers) reply(h []byte) error {
	if len(h) == simpleBytes {
		if code := binary.BigEndian.Uint32(h[4:]); code != 0 {
			return fmt.Errorf("%w: %d", errAnswered, code)
		}
	} else {
		if kind := binary.BigEndian.Uint16(h[6:]); kind&nbdErrorChunk != 0 {
			return fmt.Errorf("%w of type %#x", errAnswered, kind)
		}
		a.skip = uint64(binary.BigEndian.Uint32(h[16:]))
	}
	a.head = a.head[:0]
	return nil
}
