package libvirt

import (
	"fmt"

	"libvirt.org/go/libvirtxml"

	"github.com/kilonova/kilonova/virt"
)

// platform is what the host adds to a guest: which kind of domain libvirt makes here.
type platform struct {
	domainType string // kvm, qemu or test
	arch       string
	cpuMode    string // "": libvirt's default
	cpuModel   string // for mode custom
	diskCache  string // none, or writeback where the file system knows no direct I/O
	uefiVars   bool   // UEFI variables are kept beside the disk
	filtered   bool   // network cards get their filters
}

// namePrefix begins every domain's name, as in Nova.
const namePrefix = "instance-"

// domainXML renders the guest's definition. It is pure. Text that a user typed goes through the XML encoder
// only, and only into the metadata and the kernel's command line.
func domainXML(g virt.Guest, p platform, at place) (string, error) {
	h, err := readProperties(g)
	if err != nil {
		return "", err
	}
	meta, err := encodeMetadata(g)
	if err != nil {
		return "", err
	}
	devices, err := deviceList(g, h, p, at)
	if err != nil {
		return "", err
	}
	dom := libvirtxml.Domain{
		Type:          p.domainType,
		Name:          namePrefix + string(g.Stamp.Instance),
		UUID:          string(g.Stamp.Instance),
		Metadata:      &libvirtxml.DomainMetadata{XML: meta},
		Memory:        &libvirtxml.DomainMemory{Value: uint(g.MemoryMiB), Unit: "MiB"},
		CurrentMemory: &libvirtxml.DomainCurrentMemory{Value: uint(g.MemoryMiB), Unit: "MiB"},
		VCPU:          &libvirtxml.DomainVCPU{Placement: "static", Value: uint(g.VCPUs)},
		OS:            osSection(g, h, p, at),
		CPU:           cpuSection(h, p),
		Clock:         clockSection(p),
		OnPoweroff:    "destroy",
		OnReboot:      "restart",
		OnCrash:       "destroy",
		Devices:       devices,
	}
	if p.domainType != mockDomain {
		dom.Features = &libvirtxml.DomainFeatureList{ACPI: &libvirtxml.DomainFeature{}}
		if isX86(p.arch) {
			dom.Features.APIC = &libvirtxml.DomainFeatureAPIC{}
			dom.SysInfo = sysInfo(g)
		}
	}
	text, err := dom.Marshal()
	if err != nil {
		return "", fmt.Errorf("render domain: %w", err)
	}
	return text, nil
}

// mockDomain is the only kind of domain that libvirt's test driver has.
const mockDomain = "test"

func isX86(arch string) bool { return arch == "x86_64" || arch == "i686" }

func osSection(g virt.Guest, h hardware, p platform, at place) *libvirtxml.DomainOS {
	o := &libvirtxml.DomainOS{
		Type: &libvirtxml.DomainOSType{Arch: p.arch, Machine: machine(h, p), Type: "hvm"},
	}
	if h.uefi {
		o.Firmware = "efi"
		if p.uefiVars {
			o.NVRam = &libvirtxml.DomainNVRam{NVRam: at.nvram()}
		}
	}
	if g.Kernel.Path != "" {
		o.Kernel, o.Initrd, o.Cmdline = g.Kernel.Path, g.Kernel.Ramdisk, g.Kernel.Cmdline
	}
	if p.domainType != mockDomain && isX86(p.arch) {
		o.SMBios = &libvirtxml.DomainSMBios{Mode: "sysinfo"}
	}
	return o
}

// sysInfo tells the guest's firmware tables where it runs. Images look for OpenStack's product name there, to
// decide whether to look for a config drive.
func sysInfo(g virt.Guest) []libvirtxml.DomainSysInfo {
	return []libvirtxml.DomainSysInfo{{SMBIOS: &libvirtxml.DomainSysInfoSMBIOS{System: &libvirtxml.DomainSysInfoSystem{
		Entry: []libvirtxml.DomainSysInfoEntry{
			{Name: "manufacturer", Value: "Kilonova"},
			{Name: "product", Value: "OpenStack Compute"},
			{Name: "serial", Value: string(g.Stamp.Instance)},
			{Name: "uuid", Value: string(g.Stamp.Instance)},
			{Name: "family", Value: "Virtual Machine"},
		},
	}}}}
}

func machine(h hardware, p platform) string {
	switch {
	case p.domainType == mockDomain:
		return ""
	case h.machine != "":
		return h.machine
	case isX86(p.arch):
		return "q35"
	case p.arch == "aarch64" || p.arch == "riscv64":
		return "virt"
	}
	return ""
}

func cpuSection(h hardware, p platform) *libvirtxml.DomainCPU {
	if p.cpuMode == "" && h.sockets == 0 {
		return nil
	}
	c := &libvirtxml.DomainCPU{Mode: p.cpuMode}
	if p.cpuMode == "custom" {
		c.Match, c.Model = "exact", &libvirtxml.DomainCPUModel{Fallback: "forbid", Value: p.cpuModel}
	}
	if h.sockets > 0 {
		c.Topology = &libvirtxml.DomainCPUTopology{Sockets: h.sockets, Cores: h.cores, Threads: h.threads}
	}
	return c
}

// clockSection keeps guests' clocks as Nova does: in UTC, with timers that catch up slowly after a pause.
func clockSection(p platform) *libvirtxml.DomainClock {
	c := &libvirtxml.DomainClock{Offset: "utc"}
	if p.domainType == mockDomain || !isX86(p.arch) {
		return c
	}
	c.Timer = []libvirtxml.DomainTimer{
		{Name: "pit", TickPolicy: "delay"},
		{Name: "rtc", TickPolicy: "catchup"},
		{Name: "hpet", Present: "no"},
	}
	if p.domainType == string(KVM) {
		c.Timer = append(c.Timer, libvirtxml.DomainTimer{Name: "kvmclock", Present: "yes"})
	}
	return c
}
