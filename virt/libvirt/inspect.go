package libvirt

import (
	"context"
	"errors"
	"fmt"
	"strings"

	rpc "github.com/digitalocean/go-libvirt"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/virt"
)

// Domains lists every domain of this libvirtd, ours or not.
func (d *Driver) Domains(ctx context.Context) ([]virt.Domain, error) {
	// One call for all states; none of it waits for a guest or its monitor.
	records, err := ask(ctx, d.rpc, "list domains", func(l *rpc.Libvirt) ([]rpc.DomainStatsRecord, error) {
		return l.ConnectGetAllDomainStats(nil, uint32(rpc.DomainStatsState), 0)
	})
	if err != nil {
		return nil, err
	}
	saved, err := d.saved(ctx)
	if err != nil {
		return nil, err
	}
	list, known := make([]virt.Domain, 0, len(records)), secrets{}
	for _, r := range records {
		state, reason := stateOf(r.Params)
		dom := virt.Domain{ID: instanceID(r.Dom.UUID), Name: r.Dom.Name}
		dom.Power, dom.Reason = power(state, reason)
		v, err := d.viewOf(ctx, r.Dom, dom.Power == virt.PowerRunning || dom.Power == virt.PowerPaused)
		if errors.Is(err, virt.ErrNotFound) {
			continue // it went away meanwhile
		}
		if err != nil {
			return nil, err
		}
		d.crash.settle(&dom)
		dom.Stamp = v.stamp(dom.ID)
		dom.Saved = saved[r.Dom.UUID] && dom.Power == virt.PowerOff
		v.fill(&dom)
		if dom.Power == virt.PowerOff {
			lacks, err := d.lacks(ctx, v, &known)
			if err != nil {
				return nil, err
			}
			if lacks { // only a Build brings the passphrase, so the definition counts as out of date
				dom.Stamp.Generation = 0
			}
		}
		list = append(list, dom)
	}
	return list, nil
}

// saved tells which domains have their memory on disk.
func (d *Driver) saved(ctx context.Context) (map[rpc.UUID]bool, error) {
	doms, err := ask(ctx, d.rpc, "list saved domains", func(l *rpc.Libvirt) ([]rpc.Domain, error) {
		doms, _, err := l.ConnectListAllDomains(1, rpc.ConnectListDomainsManagedsave)
		return doms, err
	})
	set := make(map[rpc.UUID]bool, len(doms))
	for _, dom := range doms {
		set[dom.UUID] = true
	}
	return set, err
}

// stamp reads a domain's stamp; a domain without one has the zero stamp.
func (d *Driver) stamp(ctx context.Context, dom rpc.Domain) (virt.Stamp, error) {
	element, err := ask(ctx, d.rpc, "read metadata of domain "+dom.Name, func(l *rpc.Libvirt) (string, error) {
		return l.DomainGetMetadata(dom, int32(rpc.DomainMetadataElement), rpc.OptString{metadataNamespace}, 0)
	})
	if hasCode(err, rpc.ErrNoDomainMetadata) {
		return virt.Stamp{}, nil
	}
	if err != nil {
		return virt.Stamp{}, err
	}
	return decodeStamp(element, instanceID(dom.UUID)), nil
}

// find gives the domain of an instance, which must be ours. A missing one is virt.ErrNotFound, another's is
// ErrForeign.
func (d *Driver) find(ctx context.Context, id cluster.InstanceID) (rpc.Domain, error) {
	dom, _, err := d.findStamped(ctx, id)
	return dom, err
}

// findStamped is find, and gives the stamp too.
func (d *Driver) findStamped(ctx context.Context, id cluster.InstanceID) (rpc.Domain, virt.Stamp, error) {
	u, err := parseID(id)
	if err != nil {
		return rpc.Domain{}, virt.Stamp{}, err
	}
	dom, err := ask(ctx, d.rpc, "look up domain", func(l *rpc.Libvirt) (rpc.Domain, error) {
		return l.DomainLookupByUUID(rpc.UUID(u))
	})
	if err != nil {
		return rpc.Domain{}, virt.Stamp{}, err
	}
	stamp, err := d.stamp(ctx, dom)
	if err != nil {
		return rpc.Domain{}, virt.Stamp{}, err
	}
	if stamp.Instance != id || stamp.Cluster != d.cfg.ClusterID {
		return rpc.Domain{}, stamp, fmt.Errorf("%w: %s carries the stamp of cluster %q", ErrForeign, dom.Name, stamp.Cluster)
	}
	return dom, stamp, nil
}

// active tells whether a domain has a running (or paused) guest.
func (d *Driver) active(ctx context.Context, dom rpc.Domain) (bool, error) {
	n, err := ask(ctx, d.rpc, "ask whether the domain is active", func(l *rpc.Libvirt) (int32, error) {
		return l.DomainIsActive(dom)
	})
	return n != 0, err
}

// stateOf picks state and reason out of a domain's statistics.
func stateOf(params []rpc.TypedParam) (state rpc.DomainState, reason int32) {
	for _, p := range params {
		n, ok := p.Value.I.(int32)
		if !ok {
			continue
		}
		switch p.Field {
		case rpc.DomainStatsStateState:
			state = rpc.DomainState(n)
		case rpc.DomainStatsStateReason:
			reason = n
		}
	}
	return state, reason
}

// The words that virsh domstate --reason has for the reasons of each state, in libvirt's order.
var (
	runningReasons = []string{"unknown", "booted", "migrated", "restored", "from snapshot", "unpaused",
		"migration canceled", "save canceled", "event wakeup", "crashed", "post-copy", "post-copy failed"}
	pausedReasons = []string{"unknown", "user", "migrating", "saving", "dumping", "I/O error", "watchdog",
		"from snapshot", "shutting down", "creating snapshot", "crashed", "starting up", "post-copy",
		"post-copy failed", "api error"}
	shutoffReasons = []string{"unknown", "shutdown", "destroyed", "crashed", "migrated", "saved", "failed",
		"from snapshot", "daemon"}
)

// power maps libvirt's states to ours.
func power(state rpc.DomainState, reason int32) (virt.Power, string) {
	word := func(list []string) string {
		if reason >= 0 && int(reason) < len(list) {
			return list[reason]
		}
		return fmt.Sprintf("reason %d", reason)
	}
	switch state {
	case rpc.DomainRunning, rpc.DomainBlocked:
		return virt.PowerRunning, word(runningReasons)
	case rpc.DomainShutdown: // on its way down, but not there yet
		return virt.PowerRunning, "shutting down"
	case rpc.DomainPaused:
		if w := word(pausedReasons); strings.HasPrefix(w, "crashed") {
			return virt.PowerCrashed, w
		}
		return virt.PowerPaused, word(pausedReasons)
	case rpc.DomainPmsuspended:
		return virt.PowerPaused, "suspended by its guest"
	case rpc.DomainCrashed:
		return virt.PowerCrashed, "crashed"
	case rpc.DomainShutoff:
		if rpc.DomainShutoffReason(reason) == rpc.DomainShutoffCrashed {
			return virt.PowerCrashed, word(shutoffReasons)
		}
		return virt.PowerOff, word(shutoffReasons)
	}
	return virt.PowerUnknown, fmt.Sprintf("state %d", state)
}
