package sim

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/virt"
)

// recordFormat is the format of the records that are written. Those of format 0, which had no disks of their own, are
// still read.
const recordFormat = 1

// record is all that is known of a domain and its disks. It is a value: whoever changes it puts back a copy, and
// changes no slice in place. It holds nothing secret: neither user data nor passwords.
type record struct {
	Format  int        `json:"format,omitempty"`
	Defined bool       `json:"defined,omitempty"`
	Stamp   virt.Stamp `json:"stamp"`
	Domain  string     `json:"domain"` // the hypervisor's name for it
	Machine machine    `json:"machine"`
	NICs    []nic      `json:"nics,omitempty"`
	Storage storage    `json:"storage,omitzero"`

	Power  virt.Power `json:"power"`
	Reason string     `json:"reason,omitempty"`
	Saved  bool       `json:"saved,omitempty"` // off, and the last boot goes on with the next start
	Boots  []boot     `json:"boots,omitempty"` // the latest last

	// Due is when the guest will bring itself to DuePower, for DueReason. Zero: it has no such plan, or
	// DueLeft says how much longer it has to run before.
	Due       time.Time     `json:"due,omitzero"`
	DueLeft   time.Duration `json:"due_left,omitempty"`
	DuePower  virt.Power    `json:"due_power,omitempty"`
	DueReason string        `json:"due_reason,omitempty"`

	Mirror mirroring `json:"mirror,omitzero"` // zero: its disk is not mirrored

	Arriving *virt.Stamp `json:"arriving,omitempty"` // it is to come here by live migration, with this stamp
	Leaving  virt.Power  `json:"leaving,omitempty"`  // it was handed over, and this is what it was before; PowerUnknown: it was not

	OldDisks bool `json:"disks,omitempty"` // format 0: it has a root disk

	boot string // the host's boot under which it was recorded; not part of the record's own JSON
}

// machine is what the guest is given besides disks and cards.
type machine struct {
	Name      string `json:"name"`
	VCPUs     int    `json:"vcpus"`
	MemoryMiB int64  `json:"memory_mib"`
	Agent     bool   `json:"agent,omitempty"`    // the guest runs an agent
	SizeGiB   int64  `json:"size_gib,omitempty"` // format 0: of the root disk
}

// mirroring is where a guest's disk is mirrored to.
type mirroring struct {
	Socket string `json:"socket"`
	Synced bool   `json:"synced,omitempty"` // the other side had all once: the guest's writes wait for it
}

type nic struct {
	MAC       string   `json:"mac"`
	Bridge    string   `json:"bridge"`
	Addresses []string `json:"addresses,omitempty"`
}

// upgrade brings a record that was read to the present format.
func (r *record) upgrade() error {
	switch {
	case r.Format == recordFormat:
		return nil
	case r.Format > recordFormat || r.Format < 0:
		return fmt.Errorf("a record of format %d: this version reads up to %d", r.Format, recordFormat)
	}
	if r.OldDisks {
		r.Storage = storage{Epoch: r.Stamp.Epoch, Files: []file{{
			Epoch: r.Stamp.Epoch, ID: virt.DiskRoot, Format: formatQCOW2, Bytes: r.Machine.SizeGiB << 30,
		}}}
	}
	for i := range r.Boots {
		b := &r.Boots[i]
		if b.Off.IsZero() {
			b.Since = b.On
		} else {
			b.Ran = b.Off.Sub(b.On)
		}
	}
	r.Format, r.OldDisks, r.Machine.SizeGiB = recordFormat, false, 0
	return nil
}

func (r *record) up() bool { return r.Power == virt.PowerRunning || r.Power == virt.PowerPaused }

// domain describes the record as the contract does.
func (r *record) domain(id cluster.InstanceID) virt.Domain {
	var disks, cards []string
	for _, v := range r.Storage.Volumes {
		disks = append(disks, string(v.ID))
	}
	for _, n := range r.NICs {
		cards = append(cards, n.MAC)
	}
	slices.Sort(disks)
	slices.Sort(cards)
	return virt.Domain{ID: id, Name: r.Domain, Stamp: r.Stamp, Power: r.Power, Reason: r.Reason, Saved: r.Saved,
		Disks: strings.Join(disks, ","), NICs: strings.Join(cards, ",")}
}

func (r *record) define(g virt.Guest) error {
	store, err := r.Storage.built(g)
	if err != nil {
		return err
	}
	r.Format, r.Storage, r.Arriving = recordFormat, store, nil
	r.Defined, r.Stamp = true, g.Stamp
	r.Domain = string(g.Stamp.Instance)
	r.Machine = machine{Name: g.Name, VCPUs: g.VCPUs, MemoryMiB: g.MemoryMiB, Agent: g.Properties[agentProperty] == "yes"}
	r.NICs = nil
	for _, n := range g.NICs {
		r.NICs = append(r.NICs, card(n))
	}
	if r.Power == virt.PowerUnknown {
		r.Power, r.Reason = virt.PowerOff, "never started"
	}
	return nil
}

// agentProperty of an image says that its guests run an agent, as for Nova's libvirt driver.
const agentProperty = "hw_qemu_guest_agent"

func card(n virt.NIC) nic { return nic{MAC: n.MAC, Bridge: n.Bridge, Addresses: n.Addresses} }

// powerOn boots the guest.
func (r *record) powerOn(now time.Time) {
	r.Power, r.Reason, r.Saved = virt.PowerRunning, "booted", false
	kept := r.Boots
	if len(kept) >= keptBoots {
		kept = kept[len(kept)-keptBoots+1:]
	}
	r.Boots = append(append([]boot(nil), kept...), boot{On: now, Since: now, Count: r.Storage.countBoot()})
	r.plan(now, 0, virt.PowerUnknown, "")
}

// halt stops the processors; goOn lets them run again. What the guest was about to do waits meanwhile.
func (r *record) halt(now time.Time) {
	if b := r.lastBoot(); b != nil {
		b.freeze(now)
	}
	if !r.Due.IsZero() {
		r.DueLeft, r.Due = max(r.Due.Sub(now), 1), time.Time{}
	}
}

func (r *record) goOn(now time.Time) {
	if b := r.lastBoot(); b != nil && b.Since.IsZero() {
		b.Since = now
	}
	if r.DueLeft > 0 {
		r.Due, r.DueLeft = now.Add(r.DueLeft), 0
	}
}

func (r *record) powerOff(reason string, now time.Time) { r.end(virt.PowerOff, reason, now) }

func (r *record) crash(reason string, now time.Time) { r.end(virt.PowerCrashed, reason, now) }

// end finishes the present boot, if there is one.
func (r *record) end(p virt.Power, reason string, now time.Time) {
	if b := r.lastBoot(); b != nil && (r.up() || r.Saved) {
		b.freeze(now)
		b.Off, b.Reason = now, reason
	}
	if r.Power != virt.PowerOff || r.Saved {
		r.Power, r.Reason = p, reason
	}
	r.Saved, r.Leaving = false, virt.PowerUnknown
	r.Mirror = mirroring{}
	r.plan(now, 0, virt.PowerUnknown, "")
}

// lastBoot gives the last boot for changing, in a slice that no other record has.
func (r *record) lastBoot() *boot {
	if len(r.Boots) == 0 {
		return nil
	}
	r.Boots = slices.Clone(r.Boots)
	return &r.Boots[len(r.Boots)-1]
}

// say lets the guest print a line now.
func (r *record) say(now time.Time, format string, args ...any) {
	if b := r.lastBoot(); b != nil && b.Off.IsZero() {
		b.say(b.uptime(now), fmt.Sprintf(format, args...))
	}
}

// plan says what the guest will do in a while; 0: nothing.
func (r *record) plan(now time.Time, in time.Duration, p virt.Power, reason string) {
	r.Due, r.DueLeft, r.DuePower, r.DueReason = time.Time{}, 0, p, reason
	if in > 0 {
		r.Due = now.Add(in)
	}
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
