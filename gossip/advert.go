package gossip

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net/netip"

	"github.com/kilonova/kilonova/cluster"
)

// MaxAdvert is the most bytes that an encoded advert has.
const MaxAdvert = 128

const (
	advertFormat  = 1  // of the encoding; another one cannot be read
	maxVersion    = 32 // bytes of Advert.Version
	freeStep      = 5  // per cent between levels of free memory and disk
	pressureStep  = 10 // per cent between levels of pressure
	fullPerCent   = 100
	hysteresisNum = 3 // a level is left when its value is more than 3/4 of a step away from it
	hysteresisDen = 4
)

// Advert is what a node tells all others about itself.
type Advert struct {
	Commands uint32         // newest command version that its binary knows
	Version  string         // of its binary; at most 32 bytes
	API      netip.AddrPort // where it answers the API
	Role     Role
	Total    cluster.Resources // what the machine has, before ratios and reserves
	Load     Load
}

// Role is a set of what a node does.
type Role uint8

// The roles.
const (
	RoleHypervisor Role = 1 << iota // runs instances
	RoleVoter                       // votes
	RoleReady                       // its hypervisor answers
)

// Load is how busy a node is, in per cent. On the wire it is rounded: free memory and disk to 5 %, pressure to 10 %.
type Load struct {
	MemoryFree     uint8
	DiskFree       uint8
	IOPressure     uint8
	MemoryPressure uint8
	DiskFull       bool // no room for instances' disks, whatever DiskFree is rounded to
}

var errAdvert = errors.New("malformed advert")

// encode packs an advert: format, role, flags and levels in one byte each, then varints, then the API address and the
// version with their lengths. Later builds may add to the end.
func (a *Advert) encode() ([]byte, error) {
	if len(a.Version) > maxVersion {
		return nil, fmt.Errorf("encode advert: version of %d bytes: %w", len(a.Version), errAdvert)
	}
	var full byte
	if a.Load.DiskFull {
		full = 1
	}
	b := []byte{
		advertFormat, byte(a.Role), full,
		a.Load.MemoryFree / freeStep, a.Load.DiskFree / freeStep,
		a.Load.IOPressure / pressureStep, a.Load.MemoryPressure / pressureStep,
	}
	b = binary.AppendUvarint(b, uint64(a.Commands))
	for _, n := range []int64{a.Total.VCPUs, a.Total.MemoryMiB, a.Total.DiskGiB} {
		b = binary.AppendUvarint(b, uint64(max(0, n)))
	}
	address, err := a.API.MarshalBinary()
	if err != nil || a.API.Addr().Zone() != "" {
		return nil, fmt.Errorf("encode advert: API address %s: %w", a.API, errAdvert)
	}
	for _, part := range [][]byte{address, []byte(a.Version)} {
		b = append(b, byte(len(part)))
		b = append(b, part...)
	}
	return b, nil
}

// decodeAdvert reads what encode wrote, in this build or a later one. It takes nothing that encode would not write.
func decodeAdvert(b []byte) (Advert, error) {
	const fixed = 7
	var a Advert
	switch {
	case len(b) > MaxAdvert:
		return a, fmt.Errorf("%d bytes: %w", len(b), errAdvert)
	case len(b) < fixed:
		return a, fmt.Errorf("cut short: %w", errAdvert)
	case b[0] != advertFormat:
		return a, fmt.Errorf("format %d: %w", b[0], errAdvert)
	case b[2] > 1 || max(b[3], b[4]) > fullPerCent/freeStep || max(b[5], b[6]) > fullPerCent/pressureStep:
		return a, fmt.Errorf("level out of range: %w", errAdvert)
	}
	a.Role = Role(b[1])
	a.Load = Load{
		DiskFull: b[2] == 1, MemoryFree: b[3] * freeStep, DiskFree: b[4] * freeStep,
		IOPressure: b[5] * pressureStep, MemoryPressure: b[6] * pressureStep,
	}
	r := reader{b: b[fixed:]}
	commands := r.number(math.MaxUint32)
	a.Total = cluster.Resources{
		VCPUs: r.number(math.MaxInt32), MemoryMiB: r.number(math.MaxInt64), DiskGiB: r.number(math.MaxInt64),
	}
	address, version := r.bytes(), r.bytes()
	if r.bad || len(version) > maxVersion || !printable(version) {
		return Advert{}, fmt.Errorf("bad field: %w", errAdvert)
	}
	a.Commands, a.Version = uint32(commands), string(version)
	if err := a.API.UnmarshalBinary(address); err != nil || a.API.Addr().Zone() != "" {
		return Advert{}, fmt.Errorf("bad API address: %w", errAdvert)
	}
	return a, nil
}

func printable(b []byte) bool {
	for _, c := range b {
		if c < ' ' || c > '~' {
			return false
		}
	}
	return true
}

// reader takes fields off a buffer. Once one was bad, all are.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) number(largest uint64) int64 {
	n, size := binary.Uvarint(r.b)
	if r.bad || size <= 0 || n > largest {
		r.bad = true
		return 0
	}
	r.b = r.b[size:]
	return int64(n)
}

func (r *reader) bytes() []byte {
	if r.bad || len(r.b) == 0 || len(r.b) < 1+int(r.b[0]) {
		r.bad = true
		return nil
	}
	n := 1 + int(r.b[0])
	part := r.b[1:n]
	r.b = r.b[n:]
	return part
}

// settled rounds a load to levels. A value near the level that was sent last keeps it, so that one that wavers about a
// border is not sent over and over.
func (l Load) settled(last Load) Load {
	return Load{
		MemoryFree:     settle(l.MemoryFree, last.MemoryFree, freeStep),
		DiskFree:       settle(l.DiskFree, last.DiskFree, freeStep),
		IOPressure:     settle(l.IOPressure, last.IOPressure, pressureStep),
		MemoryPressure: settle(l.MemoryPressure, last.MemoryPressure, pressureStep),
		DiskFull:       l.DiskFull,
	}
}

func settle(value, last, step uint8) uint8 {
	value = min(value, fullPerCent)
	away := int(value) - int(last)
	if max(away, -away)*hysteresisDen <= int(step)*hysteresisNum {
		return last
	}
	return min((value+step/2)/step*step, fullPerCent)
}
