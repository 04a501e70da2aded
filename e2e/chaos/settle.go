package chaos

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/kilonova/kilonova/e2e/audit"
	"github.com/kilonova/kilonova/e2e/cloud"
)

const (
	settlePoll = 500 * time.Millisecond
	sweepLimit = 2 * time.Minute
)

// settle waits until the cluster is sound, and tells how long that took, or what is wrong when the time is over.
func (t *town) settle(ctx context.Context) (took time.Duration, faults []string) {
	return t.settleFor(ctx, func() []string { return t.unsound(ctx) })
}

// settleFor waits until look finds nothing.
func (t *town) settleFor(ctx context.Context, look func() []string) (took time.Duration, faults []string) {
	began := time.Now()
	for {
		faults = look()
		took = time.Since(began)
		if len(faults) == 0 || took > settleLimit || !pause(ctx, settlePoll) {
			return took, faults
		}
	}
}

// unsound lists what is not as it should be when nothing is hurt.
func (t *town) unsound(ctx context.Context) []string {
	if faults := t.disagreed(ctx); len(faults) > 0 {
		return faults
	}
	a, err := t.account(ctx)
	if err != nil {
		return []string{err.Error()}
	}
	t.forgive(a)
	if !t.sim {
		held, err := t.held(ctx)
		if err != nil {
			return []string{err.Error()}
		}
		return append(unsettled(a), strays(a.Servers, held)...)
	}
	return append(a.Faults(), t.forgetful(a)...)
}

// forgetful lists the servers with a copy whose disk knows of fewer boots than there were: they were started from a copy that lacked something. Each
// boot is on the disk before anybody is told of it.
func (t *town) forgetful(a *audit.Account) []string {
	var all []string
	for _, s := range a.Servers {
		if !s.Replicated() || s.Status != "ACTIVE" {
			continue
		}
		if root := a.Hosts[s.Host][s.ID].Root(); root != nil && root.Notes.Boots < t.chronicle.Booted(s.ID) {
			all = append(all, fmt.Sprintf("the disk of server %s was booted %d times, and knows of %d", s.ID, t.chronicle.Booted(s.ID), root.Notes.Boots))
		}
	}
	return all
}

// forgive lets pass what rests in error: servers that have no place, their volumes, and volumes that went with a host. Such a server may have a copy of its disk,
// which is kept.
func (t *town) forgive(a *audit.Account) {
	homeless := map[string]bool{} // servers and what they have
	for i := range a.Servers {
		s := &a.Servers[i]
		if !neverMade(a, *s) {
			continue
		}
		s.Status = audit.Offloaded
		homeless[s.ID] = true
		for _, v := range s.Volumes {
			homeless[v.ID] = true // also one that it never got: then the volume does not say who was to have it
		}
	}
	for i := range a.Volumes {
		v := &a.Volumes[i]
		rests := homeless[v.ID] || t.wiped.Load() && v.Status == "error" && v.Host == ""
		for _, at := range v.Attachments {
			rests = rests || homeless[at.Server]
		}
		if rests {
			v.Status, v.Attachments = "available", nil
		}
	}
}

// neverMade tells whether a server found no place when it was made, or lost it with a host that was wiped, and so holds nothing anywhere but a copy
// of its disk: a fault may leave no node that could take it.
func neverMade(a *audit.Account, s audit.Server) bool {
	if s.Status != "ERROR" || s.Task != nil || s.Host != "" {
		return false
	}
	for host, of := range a.Hosts {
		if of[s.ID] != nil && (s.Copy == nil || s.Copy.Node != host) {
			return false
		}
	}
	return true
}

// unsettled lists servers with which something is under way: those of hosts that are not simulated are asked what they have (strays).
func unsettled(a *audit.Account) []string {
	var all []string
	for _, s := range a.Servers {
		if !s.Settled() {
			all = append(all, fmt.Sprintf("server %s is %s, and something is under way", s.Name, s.Status))
		}
	}
	return all
}

// disagreed asks each node who leads, and looks whether all are members that take guests.
func (t *town) disagreed(ctx context.Context) []string {
	var all []string
	leaders := map[string]bool{}
	for _, p := range t.peers {
		var got struct{ Nodes []audit.Machine }
		a, err := t.send(ctx, p, cloud.Request{Path: "/cluster/v1/nodes"})
		if err == nil {
			err = a.Want(http.StatusOK)
		}
		if err == nil {
			err = a.Into(&got)
		}
		if err != nil {
			all = append(all, fmt.Sprintf("%s: %v", p.Name(), err))
			continue
		}
		for _, n := range got.Nodes {
			if n.Raft == "leader" {
				leaders[n.Name] = true
			}
			if n.State != "up" || n.Status != "enabled" || n.Raft == "none" {
				all = append(all, fmt.Sprintf("%s has it that %s is %s, %s, %s", p.Name(), n.Name, n.State, n.Status, n.Raft))
			}
		}
	}
	if len(leaders) != 1 {
		all = append(all, fmt.Sprintf("those lead, as the nodes have it: %v", slices.Sorted(maps.Keys(leaders))))
	}
	return all
}

// account asks for everything.
func (t *town) account(ctx context.Context) (*audit.Account, error) {
	a, err := audit.Ask(ctx, t.get, t.project)
	if err != nil {
		return nil, err
	}
	for _, p := range t.peers {
		p.catchUp()
		dir, err := p.Host.Path(p.Host.DataDir())
		if err != nil {
			return nil, err
		}
		a.Left[p.Name()] = append(audit.Files(dir, "volumes"), audit.Files(dir, "captures")...)
	}
	a.Left["the shared directory"] = audit.Files(t.dir+"/shared", "volumes")
	a.Hosts = t.chronicle.Hosts()
	return a, nil
}

// left gives the servers and the named volumes that are there.
func left(a *audit.Account) (servers, volumes []thing) {
	for _, s := range a.Servers {
		servers = append(servers, thing{s.ID, keyOf(s.Name)})
	}
	for _, v := range a.Volumes {
		if strings.HasPrefix(v.Name, "v") { // others came with a server
			volumes = append(volumes, thing{v.ID, v.Name})
		}
	}
	return servers, volumes
}

// sweep deletes everything, and tells what is left when that takes too long.
func (t *town) sweep(ctx context.Context) error {
	until := time.Now().Add(sweepLimit)
	for {
		a, err := t.account(ctx)
		if err == nil {
			if len(a.Servers)+len(a.Volumes) == 0 {
				return nil
			}
			err = fmt.Errorf("%d servers and %d volumes are left: %+v %+v", len(a.Servers), len(a.Volumes), a.Servers, a.Volumes)
			t.drop(ctx, a)
		}
		if time.Now().After(until) || !pause(ctx, 2*settlePoll) {
			return fmt.Errorf("delete everything: %w", err)
		}
	}
}

// drop asks for the deletion of all that is there. What cannot be deleted now is tried again.
func (t *town) drop(ctx context.Context, a *audit.Account) {
	for _, s := range a.Servers {
		if s.Task == nil || *s.Task != "deleting" {
			_ = t.ask(ctx, cloud.Request{Method: http.MethodDelete, Path: "/compute/v2.1/servers/" + s.ID}, nil, http.StatusNoContent)
		}
	}
	for _, v := range a.Volumes {
		if v.Status != "deleting" && len(v.Attachments) == 0 {
			_ = t.ask(ctx, cloud.Request{Method: http.MethodDelete, Path: "/volume/v3/" + t.project + "/volumes/" + v.ID}, nil, http.StatusAccepted)
		}
	}
}
