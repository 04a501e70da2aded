package virttest_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/virt"
	"github.com/kilonova/kilonova/virt/sim"
	"github.com/kilonova/kilonova/virt/virttest"
)

// The sim driver stands in for libvirt in thousands of tests, so it must keep the same promises.
func TestConformance_Sim(t *testing.T) {
	virttest.Run(t, func(t *testing.T) *virttest.Backend {
		config := sim.Config{File: filepath.Join(t.TempDir(), "sim"), Boot: 10 * time.Millisecond, Shutdown: 10 * time.Millisecond}
		d, err := sim.New(config)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { d.Close() })
		return &virttest.Backend{
			Driver: d, ClusterID: "c1", Prints: "login:",
			Guest: func(*testing.T) virt.Guest {
				return virt.Guest{VCPUs: 1, MemoryMiB: 64, Root: virt.RootDisk{SizeGiB: 1}}
			},
			Reopen: func(t *testing.T) virt.Driver {
				if err := d.Close(); err != nil {
					t.Fatal(err)
				}
				if d, err = sim.New(config); err != nil {
					t.Fatal(err)
				}
				return d
			},
			Stranger: func(t *testing.T, id cluster.InstanceID, stamp virt.Stamp) {
				if err := d.Plant(virt.Domain{ID: id, Name: "stranger", Stamp: stamp, Power: virt.PowerRunning}); err != nil {
					t.Fatal(err)
				}
			},
			Die: func(t *testing.T, id cluster.InstanceID) {
				if err := d.CrashGuest(id); err != nil {
					t.Fatal(err)
				}
			},
		}
	})
}
