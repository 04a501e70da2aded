package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/virt"
)

// How often a node looks at its hypervisor, and how long it waits for the answer.
const (
	inventoryEvery   = 10 * time.Second
	inventoryRetry   = 250 * time.Millisecond
	inventoryTimeout = 20 * time.Second
)

// inventory keeps this node's record in the state true: what the machine has, whether the hypervisor answers, which
// bridges there are.
type inventory struct {
	cfg        *Config
	self       cluster.NodeID
	agreement  *agreement
	driver     virt.Driver
	quarantine func() []string
	advertise  func(virt.Host) // tells gossip what was found
	shortage   func() string   // says that the disk is nearly full
	share      *share
	log        *slog.Logger
}

var errNotInState = errors.New("this node is not in the state yet")

// run looks and tells until ctx ends.
func (i *inventory) run(ctx context.Context) {
	retry := inventoryRetry
	for {
		wait := inventoryEvery
		if err := i.tell(ctx); err == nil {
			retry = inventoryRetry
		} else if ctx.Err() == nil {
			i.log.Info("tell the cluster about this node", "err", err, "again_in", retry)
			wait = retry
			if !errors.Is(err, errNotInState) { // what was refused is refused again; what was not heard of will be
				retry = min(2*retry, inventoryEvery)
			}
		}
		if !pause(ctx, wait) {
			return
		}
	}
}

// tell proposes this node's record when it differs from the state's.
func (i *inventory) tell(ctx context.Context) error {
	view := i.agreement.Local()
	have, ok := view.Node(i.self)
	if !ok {
		return errNotInState
	}
	want := i.observe(ctx, view, have)
	if reflect.DeepEqual(have, want) {
		return nil
	}
	_, err := i.agreement.Propose(ctx, cluster.Command{Time: cluster.At(time.Now()), Op: &cluster.UpdateNode{Node: *want}})
	return err
}

// observe makes the record as it should be now.
func (i *inventory) observe(ctx context.Context, view *cluster.View, have *cluster.Node) *cluster.Node {
	n := have.Clone()
	n.Name, n.Version, n.Commands = i.cfg.Name, i.cfg.Version, i.cfg.commandVersion()
	if i.cfg.Witness {
		n.Capacity, n.Host, n.Bridges, n.Open = cluster.Capacity{}, cluster.HostFacts{}, nil, nil
		i.advertise(virt.Host{})
		return n
	}
	ctx, cancel := context.WithTimeout(ctx, inventoryTimeout)
	defer cancel()
	host, err := i.driver.Host(ctx)
	i.advertise(host)
	if err != nil {
		n.Host.Ready = false
		n.Host.Trouble = trouble(err)
		return n
	}
	n.Capacity = i.capacity(host)
	n.Host = facts(host)
	shares, unshared := i.share.look(view)
	if shares {
		n.Host.Traits = slices.Sorted(slices.Values(append(n.Host.Traits, cluster.TraitSharedVolumes)))
	}
	n.Host.Quarantine = orNil(listed(i.quarantine()))
	var bridgeless string
	n.Bridges, bridgeless = bridges(i.cfg.Bridges, host)
	n.Host.Trouble = plain(cmp.Or(i.shortage(), bridgeless, unshared), maxTrouble) // the worst of them
	n.Open = orNil(i.cfg.Open)
	return n
}

// trouble says in one line why a node takes no instances.
func trouble(err error) string {
	if errors.Is(err, virt.ErrUnavailable) {
		return "the hypervisor does not answer: is libvirtd running?"
	}
	return plain(err.Error(), maxTrouble)
}

// What the state takes of a node's troubles.
const (
	maxTrouble    = 1024 // bytes
	maxQuarantine = 200  // domains
	maxStrange    = 200  // bytes about each
)

// listed bounds what is told about strange domains: there may be thousands, and their names are anybody's.
func listed(strange []string) []string {
	out := make([]string, 0, min(len(strange), maxQuarantine))
	for _, s := range strange {
		if len(out) == maxQuarantine-1 && len(strange) > maxQuarantine {
			return append(out, fmt.Sprintf("and %d more", len(strange)-len(out)))
		}
		out = append(out, plain(s, maxStrange))
	}
	return out
}

// plain is at most n bytes of a text, without what is not text.
func plain(s string, n int) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s[:min(len(s), n)], "?"))
}

func (i *inventory) capacity(h virt.Host) cluster.Capacity {
	r := i.cfg.Capacity
	return cluster.Capacity{
		VCPUs: int64(h.CPU.Count), MemoryMiB: h.MemoryMiB, DiskGiB: h.DiskGiB,
		VCPURatio: thousandths(r.CPU), MemoryRatio: thousandths(r.Memory), DiskRatio: thousandths(r.Disk),
		ReservedMemoryMiB: r.ReservedMemoryMiB, ReservedDiskGiB: r.ReservedDiskGiB,
	}
}

func thousandths(ratio float64) int64 { return int64(math.Round(ratio * 1000)) }

func facts(h virt.Host) cluster.HostFacts {
	traits := slices.Clone(h.Traits)
	if h.AsRoot {
		traits = append(traits, cluster.TraitGuestsAsRoot)
	}
	if h.Unfiltered {
		traits = append(traits, cluster.TraitNoSeccomp)
	}
	return cluster.HostFacts{
		Type: h.Type, Version: h.Version, Arch: h.CPU.Arch, CPUModel: h.CPU.Model, CPUVendor: h.CPU.Vendor,
		Sockets: h.CPU.Sockets, Cores: h.CPU.Cores, Threads: h.CPU.Threads, KVM: h.KVM,
		Traits: orNil(slices.Sorted(slices.Values(traits))), Ready: true, Confinement: h.Confinement, Watchdog: hasWatchdog(),
	}
}

// bridges keeps the configured bridges that exist, and says which do not.
func bridges(configured map[string]string, h virt.Host) (there map[string]string, missing string) {
	for _, label := range slices.Sorted(maps.Keys(configured)) {
		if !h.Bridges[configured[label]] {
			missing = fmt.Sprintf("bridge %s of --bridge %s=%s does not exist on this host", configured[label], label, configured[label])
			continue
		}
		if there == nil {
			there = map[string]string{}
		}
		there[label] = configured[label]
	}
	return there, missing
}

// orNil turns an empty slice into nil, as decoding does, so that records compare equal.
func orNil(s []string) []string {
	if len(s) == 0 {
		return nil
	}
	return s
}
