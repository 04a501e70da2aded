package sim

import (
	"fmt"
	"strings"
	"time"

	"github.com/kilonova/kilonova/virt"
)

// keptBoots is how many boots a console remembers; a real one is bounded in bytes.
const keptBoots = 4

// record is all that is known of a domain and its disks. It is a value: whoever changes it puts back a copy.
// It holds nothing secret: neither user data nor passwords.
type record struct {
	Defined bool       `json:"defined,omitempty"`
	Disks   bool       `json:"disks,omitempty"`
	Stamp   virt.Stamp `json:"stamp"`
	Domain  string     `json:"domain"` // the hypervisor's name for it
	Machine machine    `json:"machine"`
	NICs    []nic      `json:"nics,omitempty"`

	Power  virt.Power `json:"power"`
	Reason string     `json:"reason,omitempty"`
	Boots  []boot     `json:"boots,omitempty"` // the latest last

	// Due is when the guest will bring itself to DuePower, for DueReason. Zero: it has no such plan.
	Due       time.Time  `json:"due,omitzero"`
	DuePower  virt.Power `json:"due_power,omitempty"`
	DueReason string     `json:"due_reason,omitempty"`

	boot string // the host's boot under which it was recorded; not part of the record's own JSON
}

// machine is what the console tells about the guest.
type machine struct {
	Name      string `json:"name"`
	VCPUs     int    `json:"vcpus"`
	MemoryMiB int64  `json:"memory_mib"`
	SizeGiB   int64  `json:"size_gib"`
}

type nic struct {
	MAC       string   `json:"mac"`
	Bridge    string   `json:"bridge"`
	Addresses []string `json:"addresses,omitempty"`
}

// boot is one time that the domain was on.
type boot struct {
	On     time.Time `json:"on"`
	Off    time.Time `json:"off,omitzero"` // zero: it is on
	Reason string    `json:"reason,omitempty"`
}

func (r *record) up() bool { return r.Power == virt.PowerRunning || r.Power == virt.PowerPaused }

func (r *record) define(g virt.Guest) {
	r.Defined, r.Stamp = true, g.Stamp
	r.Domain = string(g.Stamp.Instance)
	size := g.Root.SizeGiB
	if r.Disks {
		size = r.Machine.SizeGiB // an existing disk is never made anew
	}
	r.Disks = true
	r.Machine = machine{Name: g.Name, VCPUs: g.VCPUs, MemoryMiB: g.MemoryMiB, SizeGiB: size}
	r.NICs = nil
	for _, n := range g.NICs {
		r.NICs = append(r.NICs, nic{MAC: n.MAC, Bridge: n.Bridge, Addresses: n.Addresses})
	}
	if r.Power == virt.PowerUnknown {
		r.Power, r.Reason = virt.PowerOff, "never started"
	}
}

func (r *record) powerOn(now time.Time) {
	r.Power, r.Reason = virt.PowerRunning, "booted"
	kept := r.Boots
	if len(kept) >= keptBoots {
		kept = kept[len(kept)-keptBoots+1:]
	}
	r.Boots = append(append([]boot(nil), kept...), boot{On: now})
	r.plan(0, virt.PowerUnknown, "")
}

func (r *record) powerOff(reason string, now time.Time) { r.end(virt.PowerOff, reason, now) }

func (r *record) crash(reason string, now time.Time) { r.end(virt.PowerCrashed, reason, now) }

// end finishes the present boot, if there is one.
func (r *record) end(p virt.Power, reason string, now time.Time) {
	if r.up() && len(r.Boots) > 0 {
		r.Boots = append([]boot(nil), r.Boots...)
		last := &r.Boots[len(r.Boots)-1]
		last.Off, last.Reason = now, reason
	}
	if r.Power != virt.PowerOff {
		r.Power, r.Reason = p, reason
	}
	r.plan(0, virt.PowerUnknown, "")
}

// plan says what the guest will do in a while; 0: nothing.
func (r *record) plan(in time.Duration, p virt.Power, reason string) {
	r.Due, r.DuePower, r.DueReason = time.Time{}, p, reason
	if in > 0 {
		r.Due = time.Now().Add(in)
	}
}

// console gives the guest's serial output up to now. Each line appears at its share of the boot time.
func (r *record) console(now time.Time, bootTime time.Duration) string {
	var out strings.Builder
	for _, b := range r.Boots {
		end := now
		if !b.Off.IsZero() {
			end = b.Off
		}
		lines := r.bootLines()
		for i, line := range lines {
			at := bootTime * time.Duration(i) / time.Duration(len(lines)-1)
			if b.On.Add(at).After(end) {
				break
			}
			fmt.Fprintf(&out, "[%12.6f] %s\n", at.Seconds(), line)
		}
		if !b.Off.IsZero() {
			fmt.Fprintf(&out, "[%12.6f] %s\n", end.Sub(b.On).Seconds(), "sim: power off: "+b.Reason)
		}
	}
	return out.String()
}

// bootLines is what a guest prints from power-on to its login prompt.
func (r *record) bootLines() []string {
	name := strings.Map(printable, r.Machine.Name)
	lines := []string{
		"Linux version 6.1.0-sim (kilonova) #1 SMP",
		fmt.Sprintf("smp: Brought up 1 node, %d CPUs", r.Machine.VCPUs),
		fmt.Sprintf("Memory: %d MiB available", r.Machine.MemoryMiB),
		fmt.Sprintf("vda: %d GiB", r.Machine.SizeGiB),
	}
	for i, n := range r.NICs {
		lines = append(lines, strings.TrimSpace(fmt.Sprintf("eth%d: %s %s", i, n.MAC, strings.Join(n.Addresses, " "))))
	}
	return append(lines, "Hostname set to <"+name+">", name+" login:")
}

// printable keeps a name from writing lines of its own.
func printable(c rune) rune {
	if c < ' ' || c == 0x7f {
		return '?'
	}
	return c
}

func powerName(p virt.Power) string {
	switch p {
	case virt.PowerOff:
		return "off"
	case virt.PowerRunning:
		return "running"
	case virt.PowerPaused:
		return "paused"
	case virt.PowerCrashed:
		return "crashed"
	}
	return "in an unknown state"
}
