package libvirt

import (
	"context"
	"encoding/xml"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	rpc "github.com/digitalocean/go-libvirt"
	"golang.org/x/sys/unix"
	"libvirt.org/go/libvirtxml"

	"github.com/kilonova/kilonova/virt"
)

// Host says what this host offers.
func (d *Driver) Host(ctx context.Context) (virt.Host, error) {
	h, err := d.host(ctx)
	if err != nil {
		return virt.Host{}, fmt.Errorf("describe host: %w", err)
	}
	return h, nil
}

func (d *Driver) host(ctx context.Context) (virt.Host, error) {
	kind, err := ask(ctx, d.rpc, "get type", func(l *rpc.Libvirt) (string, error) { return l.ConnectGetType() })
	if err != nil {
		return virt.Host{}, err
	}
	version, err := ask(ctx, d.rpc, "get version", func(l *rpc.Libvirt) (uint64, error) { return l.ConnectGetVersion() })
	if err != nil {
		return virt.Host{}, err
	}
	caps, err := d.capabilities(ctx)
	if err != nil {
		return virt.Host{}, err
	}
	node, err := ask(ctx, d.rpc, "get node info", nodeInfo)
	if err != nil {
		return virt.Host{}, err
	}
	p, err := d.platform(ctx)
	if err != nil {
		return virt.Host{}, err
	}
	h := virt.Host{
		Type: kind, Version: int(version), MemoryMiB: int64(node.memoryKiB / 1024),
		CPU: node.cpu, KVM: d.kvmProved(ctx, p), Confinement: confinement(caps),
		EmulatorNames: emulators(caps), Bridges: bridges("/sys/class/net"),
	}
	h.CPU.Arch, h.CPU.Model, h.CPU.Vendor = caps.Host.CPU.Arch, caps.Host.CPU.Model, caps.Host.CPU.Vendor
	if h.DiskGiB, h.DiskFreeGiB, err = d.store.room(); err != nil {
		return virt.Host{}, err
	}
	if h.AsRoot, h.Unfiltered, err = d.rights(ctx, caps, p); err != nil {
		return virt.Host{}, err
	}
	if !d.cfg.mock() {
		if h.Traits, err = d.traits(ctx, p); err != nil {
			return virt.Host{}, err
		}
		if barred := passable(d.store.root); barred != "" {
			d.log.Warn("a QEMU that runs as its own user cannot reach its disks; make the directory passable (chmod o+x)",
				"directory", barred)
		}
	}
	return h, nil
}

// kvmProved tells whether guests run with KVM and KVM was seen to run one. An operator may ask for KVM unproved;
// then it is used, but not reported.
func (d *Driver) kvmProved(ctx context.Context, p platform) bool {
	if p.domainType == mockDomain {
		return false
	}
	err := d.prober.Usable(ctx)
	if err != nil {
		d.unproved.Do(func() { d.log.Info("KVM is not proved", "guests use", p.domainType, "why", err) }) // asked for again and again
	}
	return err == nil && p.domainType == string(KVM)
}

// node is what virNodeGetInfo says, in sums over the whole host.
type node struct {
	memoryKiB uint64
	cpu       virt.CPU
}

func nodeInfo(l *rpc.Libvirt) (node, error) {
	_, memory, cpus, _, nodes, sockets, cores, threads, err := l.NodeGetInfo()
	n := node{memoryKiB: memory, cpu: virt.CPU{
		Count: int(cpus), Sockets: int(sockets) * max(int(nodes), 1), Cores: int(cores), Threads: int(threads),
	}}
	return n, err
}

// confinement names what keeps a guest's QEMU from the rest of the host.
func confinement(caps *libvirtxml.Caps) string {
	for _, m := range caps.Host.SecModel {
		if m.Name == "apparmor" || m.Name == "selinux" {
			return m.Name
		}
	}
	return "none"
}

// emulators lists the architectures that guests can have.
func emulators(caps *libvirtxml.Caps) []string {
	var l []string
	for _, g := range caps.Guests {
		if !slices.Contains(l, g.Arch.Name) {
			l = append(l, g.Arch.Name)
		}
	}
	slices.Sort(l)
	return l
}

// bridges lists the Linux bridges of this network namespace. A host without sysfs has none.
func bridges(sysClassNet string) map[string]bool {
	found := map[string]bool{}
	paths, _ := filepath.Glob(filepath.Join(sysClassNet, "*", "bridge")) // the pattern is well-formed
	for _, p := range paths {
		if info, err := os.Stat(p); err == nil && info.IsDir() {
			found[filepath.Base(filepath.Dir(p))] = true
		}
	}
	return found
}

// room gives the size of the instances' file system and what is free of it, in GiB.
func (s store) room() (total, free int64, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(s.root, &st); err != nil {
		return 0, 0, fmt.Errorf("measure %s: %w", s.root, err)
	}
	block := uint64(st.Bsize)
	return int64(st.Blocks * block / gib), int64(st.Bavail * block / gib), nil
}

// traits gives the standard traits of guests on this host: the features of the CPU that they see, and the
// devices that libvirt can give them.
func (d *Driver) traits(ctx context.Context, p platform) ([]string, error) {
	machine := rpc.OptString{}
	if m := defaultMachine(p); m != "" {
		machine = rpc.OptString{m}
	}
	text, err := ask(ctx, d.rpc, "get domain capabilities", func(l *rpc.Libvirt) (string, error) {
		return l.ConnectGetDomainCapabilities(rpc.OptString{}, rpc.OptString{p.arch}, machine, rpc.OptString{p.domainType}, 0)
	})
	if err != nil {
		return nil, err
	}
	var caps libvirtxml.DomainCaps
	if err := xml.Unmarshal([]byte(text), &caps); err != nil {
		return nil, fmt.Errorf("read domain capabilities: %w", err)
	}
	found := deviceTraits(&caps)
	if isX86(p.arch) {
		features, err := d.guestFeatures(ctx, p, machine, &caps)
		if err != nil {
			return nil, err
		}
		found = append(found, cpuTraits(features)...)
	}
	slices.Sort(found)
	return slices.Compact(found), nil
}

// guestFeatures lists the CPU features that a guest sees: those of the host model, written out by libvirt.
func (d *Driver) guestFeatures(ctx context.Context, p platform, machine rpc.OptString, caps *libvirtxml.DomainCaps) ([]string, error) {
	model, err := hostModel(caps)
	if err != nil || model == "" {
		return nil, err
	}
	text, err := ask(ctx, d.rpc, "expand the host's CPU model", func(l *rpc.Libvirt) (string, error) {
		return l.ConnectBaselineHypervisorCPU(rpc.OptString{}, rpc.OptString{p.arch}, machine, rpc.OptString{p.domainType},
			[]string{model}, uint32(rpc.ConnectBaselineCPUExpandFeatures))
	})
	if err != nil {
		return nil, err
	}
	var cpu libvirtxml.DomainCPU
	if err := xml.Unmarshal([]byte(text), &cpu); err != nil {
		return nil, fmt.Errorf("read the host's CPU model: %w", err)
	}
	var list []string
	for _, f := range cpu.Features {
		if f.Policy == "require" || f.Policy == "" {
			list = append(list, f.Name)
		}
	}
	return list, nil
}

// hostModel gives the CPU of mode host-model as a cpu element, or "" where there is none.
func hostModel(caps *libvirtxml.DomainCaps) (string, error) {
	if caps.CPU == nil {
		return "", nil
	}
	for _, m := range caps.CPU.Modes {
		if m.Name != "host-model" || m.Supported != "yes" || len(m.Models) == 0 {
			continue
		}
		cpu := libvirtxml.DomainCPU{Mode: "custom", Match: "exact", Vendor: m.Vendor,
			Model: &libvirtxml.DomainCPUModel{Fallback: "forbid", Value: m.Models[0].Name}}
		for _, f := range m.Features {
			cpu.Features = append(cpu.Features, libvirtxml.DomainCPUFeature(f))
		}
		b, err := xml.Marshal(cpu)
		return string(b), err
	}
	return "", nil
}

// defaultMachine names the default machine of a platform.
func defaultMachine(p platform) string { return machine(hardware{}, p) }

// cpuTraits gives the traits of the CPU features that os-traits knows, by its rule: HW_CPU_X86_ and the name.
func cpuTraits(features []string) []string {
	var l []string
	for _, f := range features {
		if t, ok := x86Traits[f]; ok {
			l = append(l, t)
		}
	}
	return l
}

// deviceTraits gives the traits of the devices that guests can have.
func deviceTraits(caps *libvirtxml.DomainCaps) []string {
	l := []string{"COMPUTE_NODE", "COMPUTE_NET_VIF_MODEL_VIRTIO", "COMPUTE_NET_VIF_MODEL_E1000", "COMPUTE_NET_VIF_MODEL_RTL8139"}
	if caps.Devices == nil {
		return l
	}
	l = append(l, enumTraits("COMPUTE_STORAGE_BUS_", caps.Devices.Disk, "bus", diskBuses)...)
	return append(l, enumTraits("COMPUTE_GRAPHICS_MODEL_", caps.Devices.Video, "modelType", videoModels)...)
}

// enumTraits gives a trait for each value that both libvirt and the image properties know.
func enumTraits(prefix string, device *libvirtxml.DomainCapsDevice, enum string, known []string) []string {
	var l []string
	if device == nil {
		return nil
	}
	for _, e := range device.Enums {
		for _, v := range e.Values {
			if e.Name == enum && slices.Contains(known, v) {
				l = append(l, prefix+strings.ToUpper(v))
			}
		}
	}
	return l
}
