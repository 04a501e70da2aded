package libvirt

import (
	"context"
	"encoding/xml"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	rpc "github.com/digitalocean/go-libvirt"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/virt"
)

// domainView is what the driver needs to know of a domain's XML.
type domainView struct {
	Type     string `xml:"type,attr"`
	Metadata struct {
		Ours []struct {
			Stamp metadataStamp `xml:"stamp"`
		} `xml:"https://github.com/kilonova/kilonova/domain/1 instance"`
	} `xml:"metadata"`
	Disks       []diskView `xml:"devices>disk"`
	NICs        []nicView  `xml:"devices>interface"`
	Serials     []charView `xml:"devices>serial"`
	Channels    []charView `xml:"devices>channel"`
	Controllers []struct {
		Type string `xml:"type,attr"`
	} `xml:"devices>controller"`
	Graphics []struct {
		Type   string `xml:"type,attr"`
		Listen struct {
			Socket string `xml:"socket,attr"`
		} `xml:"listen"`
	} `xml:"devices>graphics"`
}

type diskView struct {
	Alias struct {
		Name string `xml:"name,attr"`
	} `xml:"alias"`
	Driver struct {
		Type string `xml:"type,attr"`
	} `xml:"driver"`
	Source struct {
		File       string     `xml:"file,attr"`
		Encryption encryption `xml:"encryption"`
	} `xml:"source"`
	Target struct {
		Dev string `xml:"dev,attr"`
		Bus string `xml:"bus,attr"`
	} `xml:"target"`
}

type encryption struct {
	Secret struct {
		UUID string `xml:"uuid,attr"`
	} `xml:"secret"`
}

type nicView struct {
	Model struct {
		Type string `xml:"type,attr"`
	} `xml:"model"`
	MAC struct {
		Address string `xml:"address,attr"`
	} `xml:"mac"`
	Target struct {
		Dev string `xml:"dev,attr"`
	} `xml:"target"`
	Alias struct {
		Name string `xml:"name,attr"`
	} `xml:"alias"`
}

type charView struct {
	Type   string `xml:"type,attr"`
	Source struct {
		Path string `xml:"path,attr"`
	} `xml:"source"`
	Target struct {
		Name  string `xml:"name,attr"`
		State string `xml:"state,attr"`
	} `xml:"target"`
}

// The aliases of devices, which libvirt keeps for us from the definition to the running domain and over a migration,
// tell which disk is which. Libvirt wants the prefix "ua-".
const (
	madePrefix   = "ua-disk-"
	volumePrefix = "ua-vol-"
	configAlias  = "ua-config"
	nicPrefix    = "ua-nic-"
)

// diskAlias names a disk's device.
func diskAlias(d virt.Disk) string {
	if d.Make.SizeMiB > 0 {
		return madePrefix + string(d.ID)
	}
	return volumePrefix + string(d.ID)
}

// id gives the ID of the disk, or "" for one that is not of the guest's list.
func (d diskView) id() virt.DiskID {
	for _, prefix := range []string{madePrefix, volumePrefix} {
		if id, ok := strings.CutPrefix(d.Alias.Name, prefix); ok {
			return virt.DiskID(id)
		}
	}
	return ""
}

// disk finds one of the domain's disks by its ID.
func (v domainView) disk(id virt.DiskID) (diskView, bool) {
	for _, d := range v.Disks {
		if d.id() == id {
			return d, true
		}
	}
	return diskView{}, false
}

// nic finds one of the domain's cards.
func (v domainView) nic(mac string) (nicView, bool) {
	for _, n := range v.NICs {
		if strings.EqualFold(n.MAC.Address, mac) {
			return n, true
		}
	}
	return nicView{}, false
}

// stamp reads the stamp of the domain id, as decodeStamp does.
func (v domainView) stamp(id cluster.InstanceID) virt.Stamp {
	for _, o := range v.Metadata.Ours {
		if o.Stamp.Instance == id {
			return o.Stamp.plain()
		}
	}
	return virt.Stamp{}
}

// fill writes the devices into what the driver reports of a domain.
func (v domainView) fill(dom *virt.Domain) {
	var disks, macs []string
	for _, d := range v.Disks {
		if id, volume := strings.CutPrefix(d.Alias.Name, volumePrefix); volume {
			disks = append(disks, id)
		}
	}
	for _, n := range v.NICs {
		macs = append(macs, strings.ToLower(n.MAC.Address))
	}
	slices.Sort(disks)
	slices.Sort(macs)
	dom.Disks, dom.NICs = strings.Join(disks, ","), strings.Join(macs, ",")
}

// look reads a domain's XML: with no flags that of the running guest, or of the definition of one that is off.
func (d *Driver) look(ctx context.Context, dom rpc.Domain, flags rpc.DomainXMLFlags) (domainView, error) {
	text, err := ask(ctx, d.rpc, "read definition of domain "+dom.Name, func(l *rpc.Libvirt) (string, error) {
		return l.DomainGetXMLDesc(dom, flags)
	})
	if err != nil {
		return domainView{}, err
	}
	return parseView(text)
}

func parseView(text string) (domainView, error) {
	var v domainView
	if err := xml.Unmarshal([]byte(text), &v); err != nil {
		return v, fmt.Errorf("read definition: %w", err)
	}
	return v, nil
}

// viewLife is how long a view is believed without a look. What this driver changes and what libvirt tells of are
// looked at anew at once; this bounds how long a change that an operator made behind our back stays unseen.
const viewLife = time.Minute

// views remembers what was read of each domain, so that listing hundreds costs one call and not hundreds. It
// remembers only while libvirt's events are heard.
type views struct {
	mu    sync.Mutex
	heard bool
	known map[cluster.InstanceID]*knownView
}

type knownView struct {
	view   domainView
	active bool // whether the guest was running
	read   time.Time
}

// listen says whether events are heard from now on; what is known until then is forgotten.
func (s *views) listen(heard bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.heard, s.known = heard, map[cluster.InstanceID]*knownView{}
}

// forget makes the next look at the domain a fresh one. With an empty ID it forgets all.
func (s *views) forget(id cluster.InstanceID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if id == "" {
		clear(s.known)
	}
	delete(s.known, id)
}

// get gives what is known, or a ticket by which what is read from now on becomes known, unless it was forgotten in
// between.
func (s *views) get(id cluster.InstanceID, active bool) (domainView, *knownView) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if k := s.known[id]; k != nil && k.active == active && !k.read.IsZero() && time.Since(k.read) < viewLife {
		return k.view, nil
	}
	ticket := &knownView{active: active}
	if s.heard {
		s.known[id] = ticket
	}
	return domainView{}, ticket
}

func (s *views) put(id cluster.InstanceID, ticket *knownView, v domainView) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known[id] == ticket {
		ticket.view, ticket.read = v, time.Now()
	}
}

// viewOf is look with memory.
func (d *Driver) viewOf(ctx context.Context, dom rpc.Domain, active bool) (domainView, error) {
	id := instanceID(dom.UUID)
	v, ticket := d.views.get(id, active)
	if ticket == nil {
		return v, nil
	}
	v, err := d.look(ctx, dom, 0)
	if err == nil {
		d.views.put(id, ticket, v)
	}
	return v, err
}
