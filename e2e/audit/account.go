package audit

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/kilonova/kilonova/virt"
)

// Server is a server as the API shows it.
type Server struct {
	ID     string
	Name   string
	Status string
	Host   string  `json:"OS-EXT-SRV-ATTR:host"`
	Task   *string `json:"OS-EXT-STS:task_state"`
	Fault  struct {
		Message string
		Details string
	}
	Flavor   struct{ VCPUs, RAM, Disk int }
	Image    any `json:"image"` // "" for one that boots from a volume
	Metadata map[string]string
	Copy     *Copy `json:"-"` // of its disk on another host; nil: none
	Volumes  []struct {
		ID string
	} `json:"os-extended-volumes:volumes_attached"`
}

// Settled tells whether nothing is under way with it.
func (s *Server) Settled() bool { return s.Task == nil && s.Status != "BUILD" }

// OfVolume tells whether it boots from a volume.
func (s *Server) OfVolume() bool { text, ok := s.Image.(string); return ok && text == "" }

// Account is all that the API says at a moment when nothing is under way, and what the hosts hold.
type Account struct {
	Servers    []Server
	Machines   []Machine
	Migrations []Migration
	Images     []Picture
	Volumes    []Volume
	Snapshots  []Snapshot
	Hosts      map[string]map[string]*Held // by host and server
	Left       map[string][]string         // by host: files of volumes and of captures
}

// Machine is a node as the API shows it.
type Machine struct {
	Name       string
	Raft       string
	Used       Room
	Limit      Room
	Status     string
	State      string
	Quarantine []string
}

// Room is what a node is promised.
type Room struct {
	VCPUs     int `json:"vcpus"`
	MemoryMiB int `json:"memory_mib"`
	DiskGiB   int `json:"disk_gib"`
}

// Beyond tells whether it is more than a limit in anything.
func (r Room) Beyond(limit Room) bool {
	return r.VCPUs > limit.VCPUs || r.MemoryMiB > limit.MemoryMiB || r.DiskGiB > limit.DiskGiB
}

// Migration is a move of a server, with Nova's word for how far it is.
type Migration struct {
	Status   string
	Instance string `json:"instance_uuid"`
	Type     string `json:"migration_type"`
}

// Picture is an image as the API shows it.
type Picture struct{ ID, Name, Status string }

// Volume is a volume as the API shows it, its size in GiB.
type Volume struct {
	ID, Name, Status string
	Size             int
	Type             string `json:"volume_type"`
	Host             string `json:"os-vol-host-attr:host"` // "": it has no file yet
	Attachments      []struct {
		Server string `json:"server_id"`
	}
}

// SharedType is the type of volumes that are on no node's disk.
const SharedType = "shared"

// Snapshot is a snapshot of a volume, its size in GiB.
type Snapshot struct {
	ID, Status string
	Size       int
}

// over are Nova's words for a migration that has ended.
var over = []string{"error", "confirmed", "reverted", "completed", "cancelled", "done"}

// rest is what a domain is in a status in which nothing is under way.
var rest = map[string]struct {
	power virt.Power
	saved bool
}{
	"ACTIVE": {virt.PowerRunning, false}, "RESCUE": {virt.PowerRunning, false}, "PAUSED": {virt.PowerPaused, false},
	"SHUTOFF": {virt.PowerOff, false}, "SOFT_DELETED": {virt.PowerOff, false}, "SUSPENDED": {virt.PowerOff, true},
}

// Offloaded is the status of a server that no host holds.
const Offloaded = "SHELVED_OFFLOADED"

// Faults lists where the cluster and its hosts do not say the same, and what was left over.
func (a *Account) Faults() []string {
	var all []string
	add := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	known := map[string]*Server{}
	for i := range a.Servers {
		s := &a.Servers[i]
		known[s.ID] = s
		if why := a.compare(s); why != "" {
			add("server %s (%s) is %s on %q: %s", s.Name, s.ID, s.Status, s.Host, why)
		}
	}
	for _, host := range slices.Sorted(maps.Keys(a.Hosts)) {
		for _, id := range slices.Sorted(maps.Keys(a.Hosts[host])) {
			s, h := known[id], a.Hosts[host][id]
			if s != nil && s.keepsCopy(host, h) {
				continue
			}
			if s == nil || s.Host != host || s.Status == Offloaded {
				add("%s holds %s, which is not there: defined %t, power %d, disks %d", host, id, h.Defined, h.Power, len(h.Storage.Files))
			}
		}
	}
	for _, m := range a.Migrations {
		if !slices.Contains(over, m.Status) {
			add("the %s of %s is %s", m.Type, m.Instance, m.Status)
		}
	}
	for _, p := range a.Images {
		if p.Status != "active" {
			add("image %s (%s) is %s", p.Name, p.ID, p.Status)
		}
	}
	all = append(all, a.volumeFaults(known)...)
	return append(all, a.nodeFaults()...)
}

// compare says how a server and its domain differ; "": they do not.
func (a *Account) compare(s *Server) string {
	if !s.Settled() {
		return fmt.Sprintf("the task is %s", *s.Task)
	}
	if s.Status == Offloaded {
		return ""
	}
	h := a.Hosts[s.Host][s.ID]
	want, ok := rest[s.Status]
	if !ok {
		return "that is no status to rest in: " + s.Fault.Message + " " + s.Fault.Details
	}
	switch {
	case h == nil || !h.Defined:
		return "its host has no domain"
	case h.Power != want.power || h.Saved != want.saved:
		return fmt.Sprintf("its domain has power %d, saved %t", h.Power, h.Saved)
	case (h.Disk(virt.DiskRescue) != nil) != (s.Status == "RESCUE"):
		return "its domain has a rescue disk or lacks one"
	case (h.Root() == nil) != s.OfVolume():
		return "its domain lacks a root disk or has one too many"
	}
	for _, f := range h.Storage.Files {
		if f.Epoch != h.Storage.Epoch && (s.Copy == nil || s.Copy.Node != s.Host) { // it came to where its copy was, which is not placed anew yet
			return fmt.Sprintf("disks of epoch %d are left beside those of %d", f.Epoch, h.Storage.Epoch)
		}
	}
	var has, due []string
	for _, v := range h.Storage.Volumes {
		has = append(has, v.ID)
	}
	for _, v := range s.Volumes {
		due = append(due, v.ID)
	}
	slices.Sort(has)
	slices.Sort(due)
	if !slices.Equal(has, due) {
		return fmt.Sprintf("it has the volumes %v and should have %v", has, due)
	}
	return a.compareCopy(s, h)
}

// volumeFaults looks whether volumes and servers agree on who has what, and for files of volumes that are gone.
func (a *Account) volumeFaults(known map[string]*Server) []string {
	var all []string
	there := map[string]bool{}
	for _, v := range a.Volumes {
		there[v.ID] = true
		if v.Status != "available" && v.Status != "in-use" {
			all = append(all, fmt.Sprintf("volume %s (%s) on %q is %s: %+v", v.Name, v.ID, v.Host, v.Status, v.Attachments))
		}
		for _, at := range v.Attachments {
			s := known[at.Server]
			if s == nil || !slices.ContainsFunc(s.Volumes, func(x struct{ ID string }) bool { return x.ID == v.ID }) {
				all = append(all, fmt.Sprintf("volume %s is attached to %s, which does not know", v.Name, at.Server))
			}
		}
	}
	for _, s := range a.Snapshots {
		there[s.ID] = true
		if s.Status != "available" {
			all = append(all, fmt.Sprintf("snapshot %s is %s", s.ID, s.Status))
		}
	}
	for host, files := range a.Left {
		for _, f := range files {
			if id, ok := strings.CutPrefix(f, "volumes/"); !ok || !there[id] {
				all = append(all, fmt.Sprintf("%s has the file %s left", host, f))
			}
		}
	}
	return all
}

// nodeFaults adds up what the nodes are promised. Which disk a volume takes is not said, so disks are added up over all nodes.
func (a *Account) nodeFaults() []string {
	var all []string
	var promised, disk int
	for i := range a.Servers {
		if s := &a.Servers[i]; s.Status != Offloaded && !s.OfVolume() {
			disk += s.Flavor.Disk
		}
		if c := a.Servers[i].Copy; c != nil {
			disk += c.DiskGiB
		}
	}
	for _, v := range a.Volumes {
		if v.Type != SharedType && v.Host != "" {
			disk += v.Size
		}
	}
	for _, s := range a.Snapshots {
		disk += s.Size
	}
	for _, n := range a.Machines {
		var cpus, ram int
		for i := range a.Servers {
			if s := &a.Servers[i]; s.Host == n.Name && s.Status != Offloaded {
				cpus, ram = cpus+s.Flavor.VCPUs, ram+s.Flavor.RAM
			}
		}
		promised += n.Used.DiskGiB
		if n.Used.VCPUs != cpus || n.Used.MemoryMiB != ram {
			all = append(all, fmt.Sprintf("%s is said to hold %d vCPU and %d MiB; its servers have %d and %d", n.Name, n.Used.VCPUs, n.Used.MemoryMiB, cpus, ram))
		}
		if len(n.Quarantine) > 0 {
			all = append(all, fmt.Sprintf("%s leaves alone %v", n.Name, n.Quarantine))
		}
	}
	if promised != disk {
		all = append(all, fmt.Sprintf("all nodes are said to hold %d GiB; what there is has %d", promised, disk))
	}
	return all
}
