package chaos

import (
	"context"
	"fmt"
	"slices"

	"github.com/kilonova/kilonova/e2e/audit"
)

// holding is what a host really has of one server: what /proc and libvirt show of it.
type holding struct {
	host    string
	id      string
	qemus   int  // processes
	defined bool // libvirt knows a domain
}

// strays lists where hosts do not have what the cluster says: a server that should run has one QEMU, on its host, and nobody else has anything.
func strays(servers []audit.Server, held []holding) []string {
	var all []string
	known := map[string]audit.Server{}
	for _, s := range servers {
		known[s.ID] = s
	}
	for _, h := range held {
		s, ok := known[h.id]
		if !ok || s.Host != h.host {
			all = append(all, fmt.Sprintf("%s has %d QEMUs of %s (a domain: %t), which should not be there", h.host, h.qemus, h.id, h.defined))
		}
	}
	for _, s := range servers {
		want := 0
		if slices.Contains([]string{"ACTIVE", "PAUSED", "RESCUE"}, s.Status) {
			want = 1
		}
		i := slices.IndexFunc(held, func(h holding) bool { return h.id == s.ID && h.host == s.Host })
		switch {
		case i < 0 && want > 0:
			all = append(all, fmt.Sprintf("server %s (%s) is %s, and %s has nothing of it", s.Name, s.ID, s.Status, s.Host))
		case i >= 0 && held[i].qemus != want && s.Status != "ERROR":
			all = append(all, fmt.Sprintf("server %s (%s) is %s, and has %d QEMUs on %s", s.Name, s.ID, s.Status, held[i].qemus, s.Host))
		}
	}
	return all
}

// held asks the hosts for their QEMUs and domains.
func (t *town) held(ctx context.Context) ([]holding, error) {
	var all []holding
	at := func(host, id string) *holding {
		i := slices.IndexFunc(all, func(h holding) bool { return h.host == host && h.id == id })
		if i < 0 {
			i = len(all)
			all = append(all, holding{host: host, id: id})
		}
		return &all[i]
	}
	qemus, err := t.Lab.QEMUs()
	if err != nil {
		return nil, err
	}
	for _, q := range qemus {
		at(q.Host, q.UUID).qemus++
	}
	for _, p := range t.peers {
		ids, err := p.virsh(ctx, "list", "--all", "--uuid")
		if err != nil {
			return nil, err
		}
		for _, id := range ids {
			at(p.Name(), id).defined = true
		}
	}
	return all, nil
}
