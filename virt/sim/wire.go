package sim

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/virt"
)

// A live migration takes three connections, as libvirt's does: one to the destination's daemon, which says what is
// coming and when it is all there, one for the memory and one for the disks. The destination listens for the last two
// when the first has asked it to. Each carries JSON documents.

// maxTraffic bounds what comes over one connection, in bytes.
const maxTraffic = 16 << 20

// What the source asks of the destination's daemon.
const (
	callBegin  = "begin"  // get ready for the guest of Record
	callFinish = "finish" // all was sent and the guest stands still: let it go on
	callQuery  = "query"  // does the guest run there, for the stamp of Landing?
)

// message is a document on the connection to the daemon.
type message struct {
	Call    string             `json:"call,omitempty"`
	ID      cluster.InstanceID `json:"id,omitempty"`
	Record  *record            `json:"record,omitempty"`
	Landing virt.Landing       `json:"landing,omitzero"`
	Memory  string             `json:"memory,omitempty"` // names of the sockets to listen on
	NBD     string             `json:"nbd,omitempty"`
	Disks   []virt.DiskID      `json:"disks,omitempty"` // of a finish: those that were copied

	Running bool   `json:"running,omitempty"` // the answer to a query
	Error   string `json:"error,omitempty"`
}

// memoryPage is a document on the memory connection: filler, and at the end what the memory holds.
type memoryPage struct {
	Filler []byte `json:"filler,omitempty"`
	Boot   *boot  `json:"boot,omitempty"`
	Paused bool   `json:"paused,omitempty"`
}

// diskWrite is a document on the connection for disks: all of one disk. A later one replaces it, until the last, which is sent when the guest stands
// still. QEMU waits for the answer to each of its writes; here the destination refuses a guest whose last ones did not come.
type diskWrite struct {
	ID    virt.DiskID `json:"id"`
	Bytes int64       `json:"bytes"`
	Notes notes       `json:"notes"`
	Last  bool        `json:"last,omitempty"`
}

// fillerBytes is how much memory is really sent with each step.
const fillerBytes = 32 << 10

// stream is one of the connections.
type stream struct {
	net.Conn
	in  *json.Decoder
	out *json.Encoder
}

func newStream(c net.Conn) *stream {
	return &stream{Conn: c, in: json.NewDecoder(io.LimitReader(c, maxTraffic)), out: json.NewEncoder(c)}
}

// errRefused is wrapped by what the destination's daemon said no to. Anything else that goes wrong on the way leaves it
// open whether the destination did what it was asked.
var errRefused = errors.New("the destination refused")

// call asks the daemon and waits for its answer.
func (s *stream) call(m message) (message, error) {
	if err := s.out.Encode(m); err != nil {
		return message{}, fmt.Errorf("ask the destination to %s: %w", m.Call, err)
	}
	var reply message
	if err := s.in.Decode(&reply); err != nil {
		return message{}, fmt.Errorf("wait for the destination to %s: %w", m.Call, err)
	}
	if reply.Error != "" {
		return message{}, fmt.Errorf("%w to %s: %s", errRefused, m.Call, reply.Error)
	}
	return reply, nil
}

// drain reads documents until the other end closes, and gives each to f.
func drain[T any](s *stream, f func(T)) error {
	for {
		var doc T
		err := s.in.Decode(&doc)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		f(doc)
	}
}
