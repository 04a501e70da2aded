package libvirt

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/kilonova/kilonova/virt"
)

// The image properties that shape hardware, as Glance's list of useful image properties names them.
const (
	propDiskBus     = "hw_disk_bus"
	propCDROMBus    = "hw_cdrom_bus"
	propVIFModel    = "hw_vif_model"
	propMachineType = "hw_machine_type"
	propFirmware    = "hw_firmware_type"
	propVideoModel  = "hw_video_model"
	propPointer     = "hw_pointer_model"
	propWatchdog    = "hw_watchdog_action"
	propSockets     = "hw_cpu_sockets"
	propCores       = "hw_cpu_cores"
	propThreads     = "hw_cpu_threads"
)

// hardware is what the image properties ask for, checked and with defaults filled in.
type hardware struct {
	diskBus, cdromBus, vifModel string
	machine                     string // "": the host's default
	uefi                        bool
	video                       string
	tablet                      bool
	watchdog                    string // "": none
	sockets, cores, threads     int    // all 0: QEMU's choice
}

// The values that a property may have; the first is the default.
var (
	diskBuses   = []string{"virtio", "scsi", "sata", "ide", "usb"}
	cdromBuses  = []string{"", "sata", "ide", "scsi", "usb", "virtio"} // "": that of the disk
	vifModels   = []string{"virtio", "e1000", "e1000e", "ne2k_pci", "pcnet", "rtl8139", "vmxnet3"}
	firmwares   = []string{"bios", "uefi"}
	videoModels = []string{"virtio", "vga", "cirrus", "vmvga", "qxl", "bochs", "none"}
	pointers    = []string{"ps2mouse", "usbtablet"}
	watchdogs   = []string{"disabled", "none", "pause", "poweroff", "reset"}
)

// machinePattern is what a machine type may look like: pc, q35, pc-q35-7.2, virt, ...
var machinePattern = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,63}$`)

// readProperties checks the properties that it knows and ignores the others, as Nova does.
func readProperties(g virt.Guest) (hardware, error) {
	var h hardware
	var firmware, pointer string
	for _, c := range []struct {
		name   string
		values []string
		into   *string
	}{
		{propDiskBus, diskBuses, &h.diskBus}, {propCDROMBus, cdromBuses, &h.cdromBus},
		{propVIFModel, vifModels, &h.vifModel}, {propFirmware, firmwares, &firmware},
		{propVideoModel, videoModels, &h.video}, {propPointer, pointers, &pointer},
		{propWatchdog, watchdogs, &h.watchdog},
	} {
		v, given := g.Properties[c.name]
		if !given {
			v = c.values[0]
		}
		if !slices.Contains(c.values, v) {
			return h, fmt.Errorf("image property %s is %q: want one of %s", c.name, v, strings.Join(c.values, ", "))
		}
		*c.into = v
	}
	h.uefi, h.tablet = firmware == "uefi", pointer == "usbtablet"
	if h.watchdog == "disabled" {
		h.watchdog = ""
	}
	if m, given := g.Properties[propMachineType]; given {
		if !machinePattern.MatchString(m) {
			return h, fmt.Errorf("image property %s is %q: want a machine type such as q35", propMachineType, m)
		}
		h.machine = m
	}
	return h, h.readTopology(g)
}

// readTopology fills in what the properties leave open, so that sockets x cores x threads is the VCPU count.
func (h *hardware) readTopology(g virt.Guest) error {
	given := false
	for name, into := range map[string]*int{propSockets: &h.sockets, propCores: &h.cores, propThreads: &h.threads} {
		v, ok := g.Properties[name]
		if !ok {
			continue
		}
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 || n > g.VCPUs {
			return fmt.Errorf("image property %s is %q: want a number from 1 to the guest's %d VCPUs", name, v, g.VCPUs)
		}
		*into, given = n, true
	}
	if !given {
		return nil
	}
	h.threads = max(h.threads, 1)
	switch {
	case h.sockets == 0 && h.cores == 0:
		h.cores = 1
		h.sockets = g.VCPUs / h.threads
	case h.sockets == 0:
		h.sockets = g.VCPUs / (h.cores * h.threads)
	case h.cores == 0:
		h.cores = g.VCPUs / (h.sockets * h.threads)
	}
	if h.sockets*h.cores*h.threads != g.VCPUs {
		return fmt.Errorf("image properties ask for %d sockets x %d cores x %d threads, which is not %d VCPUs",
			h.sockets, h.cores, h.threads, g.VCPUs)
	}
	return nil
}
