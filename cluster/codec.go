package cluster

import (
	"errors"
	"fmt"
	"reflect"

	"github.com/fxamacker/cbor/v2"
)

// ErrUnknownCommand says that an entry holds a command, or a field of one, that this build does not know. A
// newer build wrote it. A replica that meets it must stop: skipping it would let the replicas part.
var ErrUnknownCommand = errors.New("unknown command")

// ErrCorrupt says that bytes are not what an encoder of ours wrote. A replica that meets it in its log or in
// a snapshot must stop.
var ErrCorrupt = errors.New("corrupt data")

// Sizes of what is logged.
const (
	// MaxEntryBytes is how much is coalesced into one log entry.
	MaxEntryBytes = 512 << 10

	// MaxCommandBytes is the size of the largest command. One that is larger than MaxEntryBytes has an
	// entry of its own.
	MaxCommandBytes = 4 << 20
)

// entryVersion is the layout of an entry. It stands apart from CommandVersion, which counts kinds and fields.
const entryVersion = 1

// An entry and its commands as they are on the wire and on disk: CBOR in the core deterministic encoding of
// RFC 8949, with the field names of the JSON tags.
type wireEntry struct {
	Version  uint32            `json:"version"`
	Commands []cbor.RawMessage `json:"commands"`
}

type wireCommand struct {
	Kind   Kind            `json:"kind"`
	ID     RequestID       `json:"id,omitempty"`
	Digest *Hash           `json:"digest,omitempty"`
	Time   Time            `json:"time,omitempty"`
	Op     cbor.RawMessage `json:"op"`
}

// wireCommandOut is wireCommand with an op that is yet to be encoded.
type wireCommandOut struct {
	Kind   Kind      `json:"kind"`
	ID     RequestID `json:"id,omitempty"`
	Digest *Hash     `json:"digest,omitempty"`
	Time   Time      `json:"time,omitempty"`
	Op     Op        `json:"op"`
}

var (
	encoding = must(cbor.CoreDetEncOptions().EncMode())

	// decoding refuses fields that it does not know. It takes strings that are not UTF-8, for the encoder
	// writes them: Apply refuses them where they matter, and an entry that cannot be read stops a cluster.
	decoding = must(cbor.DecOptions{
		MaxNestedLevels:   maxNesting,
		MaxArrayElements:  maxElements,
		MaxMapPairs:       maxElements,
		IndefLength:       cbor.IndefLengthForbidden,
		TagsMd:            cbor.TagsForbidden,
		ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
		DefaultMapType:    reflect.TypeFor[map[string]any](),
		UTF8:              cbor.UTF8DecodeInvalid,
		FieldNameMatching: cbor.FieldNameMatchingCaseSensitive,
	}.DecMode())
)

// Bounds of the decoder, far above what a valid command holds.
const (
	maxNesting  = 32
	maxElements = 1 << 17
)

func must[T any](x T, err error) T {
	if err != nil {
		panic("cluster: codec options contradict each other: " + err.Error())
	}
	return x
}

// EncodeCommand encodes one command, for forwarding it to the leader and for JoinEntry. A command that is
// larger than MaxCommandBytes is refused with TooLarge.
func EncodeCommand(c Command) ([]byte, error) {
	if c.Op == nil || !c.Op.Kind().Known() {
		return nil, fmt.Errorf("encode command: %w", ErrUnknownCommand)
	}
	w := wireCommandOut{Kind: c.Op.Kind(), ID: c.ID, Time: c.Time, Op: c.Op}
	if !c.Digest.IsZero() {
		w.Digest = &c.Digest
	}
	b, err := encoding.Marshal(w)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", w.Kind, err)
	}
	if len(b) > MaxCommandBytes {
		return nil, Errorf(TooLarge, "A change of %d bytes exceeds the limit of %d bytes", len(b), MaxCommandBytes)
	}
	// What is logged must be readable, so nothing leaves here that the decoder's bounds refuse.
	if err := decoding.Wellformed(b); err != nil {
		return nil, Errorf(Invalid, "The change is nested too deeply or has too many parts: %v", err)
	}
	return b, nil
}

// DecodeCommand is the reverse of EncodeCommand. Its errors wrap ErrUnknownCommand or ErrCorrupt.
func DecodeCommand(b []byte) (Command, error) {
	if len(b) > MaxCommandBytes {
		return Command{}, fmt.Errorf("decode command: %w: %d bytes", ErrCorrupt, len(b))
	}
	var w wireCommand
	if err := decode(b, &w); err != nil {
		return Command{}, fmt.Errorf("decode command: %w", err)
	}
	if !w.Kind.Known() {
		return Command{}, fmt.Errorf("decode command: %w: kind %d; this build knows version %d", ErrUnknownCommand, w.Kind, CommandVersion)
	}
	if !isMap(w.Op) {
		return Command{}, fmt.Errorf("decode %s: %w: its body is not a map", w.Kind, ErrCorrupt)
	}
	op := newOp[w.Kind]()
	if err := decode(w.Op, op); err != nil {
		return Command{}, fmt.Errorf("decode %s: %w", w.Kind, err)
	}
	c := Command{ID: w.ID, Time: w.Time, Op: op}
	if w.Digest != nil {
		c.Digest = *w.Digest
	}
	return c, nil
}

// EncodeEntry encodes commands as one log entry.
func EncodeEntry(commands []Command) ([]byte, error) {
	encoded := make([][]byte, len(commands))
	for i := range commands {
		b, err := EncodeCommand(commands[i])
		if err != nil {
			return nil, err
		}
		encoded[i] = b
	}
	return JoinEntry(encoded)
}

// JoinEntry makes one log entry of commands that EncodeCommand encoded. Several together may be MaxEntryBytes
// long; one alone is as long as it is.
func JoinEntry(encoded [][]byte) ([]byte, error) {
	w := wireEntry{Version: entryVersion, Commands: make([]cbor.RawMessage, len(encoded))}
	size := 0
	for i, b := range encoded {
		size += len(b)
		w.Commands[i] = b
	}
	if len(encoded) == 0 || len(encoded) > 1 && size > MaxEntryBytes {
		return nil, fmt.Errorf("join entry: %d commands of %d bytes; at least one and at most %d bytes", len(encoded), size, MaxEntryBytes)
	}
	b, err := encoding.Marshal(w)
	if err != nil {
		return nil, fmt.Errorf("join entry: %w", err)
	}
	return b, nil
}

// DecodeEntry is the reverse of EncodeEntry. Its errors wrap ErrUnknownCommand or ErrCorrupt; either must stop
// the replica. The commands share no memory with b.
func DecodeEntry(b []byte) ([]Command, error) {
	var w wireEntry
	if err := decode(b, &w); err != nil {
		return nil, fmt.Errorf("decode entry: %w", err)
	}
	if w.Version != entryVersion {
		return nil, fmt.Errorf("decode entry: %w: layout %d", ErrUnknownCommand, w.Version)
	}
	if len(w.Commands) == 0 {
		return nil, fmt.Errorf("decode entry: %w: it holds no command", ErrCorrupt)
	}
	commands := make([]Command, len(w.Commands))
	for i, raw := range w.Commands {
		c, err := DecodeCommand(raw)
		if err != nil {
			return nil, fmt.Errorf("decode entry: command %d of %d: %w", i+1, len(w.Commands), err)
		}
		commands[i] = c
	}
	return commands, nil
}

// EncodeResult encodes a result for the peer that forwarded the command.
func EncodeResult(r Result) ([]byte, error) {
	b, err := encoding.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("encode result: %w", err)
	}
	return b, nil
}

// DecodeResult is the reverse of EncodeResult.
func DecodeResult(b []byte) (Result, error) {
	var r Result
	if err := decode(b, &r); err != nil {
		return Result{}, fmt.Errorf("decode result: %w", err)
	}
	return r, nil
}

// isMap tells whether encoded CBOR is a map, which is major type 5.
func isMap(b []byte) bool { return len(b) > 0 && b[0]>>5 == 5 }

// decode reads exactly one CBOR item.
func decode(b []byte, to any) error {
	err := decoding.Unmarshal(b, to)
	var unknown *cbor.UnknownFieldError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &unknown):
		return fmt.Errorf("%w: a newer build wrote it: %w", ErrUnknownCommand, err)
	}
	return fmt.Errorf("%w: %w", ErrCorrupt, err)
}
