package node

import (
	"fmt"
	"time"

	"github.com/kilonova/kilonova/node/lease"
	"github.com/kilonova/kilonova/virt"
	"github.com/kilonova/kilonova/virt/libvirt"
	"github.com/kilonova/kilonova/virt/sim"
)

// What a simulated hypervisor keeps in the data directory.
const (
	simFile    = "sim.json" // its records
	simSockets = "sim"      // its sockets
)

// openDriver makes the hypervisor driver that the configuration names.
func openDriver(cfg *Config, dir *dataDir, clusterID, boot string) (virt.Driver, error) {
	if cfg.Witness {
		return sim.New(sim.Config{Host: virt.Host{CPU: virt.CPU{Count: 1, Sockets: 1, Cores: 1, Threads: 1}}, File: dir.file(simFile), Sockets: dir.file(simSockets), HostBoot: boot})
	}
	h := cfg.Hypervisor
	if h.Driver == "sim" {
		bridges := map[string]bool{}
		for _, b := range cfg.Bridges {
			bridges[b] = true // a simulated host has every bridge that it is told of
		}
		now, err := dir.simClock(boot, time.Now, lease.BootTime)
		if err != nil {
			return nil, fmt.Errorf("begin the simulated host's clock: %w", err)
		}
		return sim.New(sim.Config{
			Now: now,
			Host: virt.Host{
				CPU:       virt.CPU{Arch: "x86_64", Count: h.Sim.VCPUs, Sockets: 1, Cores: h.Sim.VCPUs, Threads: 1},
				MemoryMiB: h.Sim.MemoryMiB, DiskGiB: h.Sim.DiskGiB, DiskFreeGiB: h.Sim.DiskGiB, Bridges: bridges,
			},
			File: dir.file(simFile), Sockets: dir.file(simSockets), HostBoot: boot, Boot: h.Sim.BootDelay,
		})
	}
	d, err := libvirt.New(libvirt.Config{
		Socket: h.LibvirtSocket, DataDir: dir.path, ClusterID: clusterID, VirtType: libvirt.VirtType(h.VirtType), Log: cfg.Log,
	})
	if err != nil {
		return nil, fmt.Errorf("open the libvirt driver: %w", err)
	}
	return d, nil
}
