package crash

import (
	"strings"
	"testing"

	"github.com/kilonova/kilonova/virt"
)

// sound is a cluster in which all is well: a server on a, and one that boots from a volume on b.
func sound() *account {
	one := server{ID: "i1", Name: "one", Status: "ACTIVE", Host: "a"}
	one.Flavor.VCPUs, one.Flavor.RAM, one.Flavor.Disk = 1, 64, 1
	two := server{ID: "i2", Name: "two", Status: "SUSPENDED", Host: "b", Image: ""}
	two.Flavor.VCPUs, two.Flavor.RAM, two.Flavor.Disk = 2, 128, 2
	two.Volumes = append(two.Volumes, struct{ ID string }{"v"})
	h2 := &held{Defined: true, Power: virt.PowerOff, Saved: true}
	h2.Storage.Volumes = append(h2.Storage.Volumes, struct {
		ID string `json:"id"`
	}{"v"})
	v := volume{ID: "v", Name: "disk", Status: "in-use", Size: 1}
	v.Attachments = append(v.Attachments, struct {
		Server string `json:"server_id"`
	}{"i2"})
	a, b := machine{Name: "a"}, machine{Name: "b"}
	a.Used.VCPUs, a.Used.MemoryMiB, a.Used.DiskGiB = 1, 64, 1
	b.Used.VCPUs, b.Used.MemoryMiB, b.Used.DiskGiB = 2, 128, 1
	return &account{
		servers: []server{one, two}, machines: []machine{a, b}, volumes: []volume{v},
		migrations: []migration{{Status: "confirmed"}}, images: []picture{{Status: "active"}},
		hosts: map[string]map[string]*held{"a": {"i1": running(0, 0, 0, 1)}, "b": {"i2": h2}},
		left:  map[string][]string{"b": {"volumes/v"}},
	}
}

func TestAccount_NothingIsFoundWhereAllIsWell(t *testing.T) {
	if faults := sound().faults(); len(faults) > 0 {
		t.Error(faults)
	}
}

// Each planted bug leaves its trace at the end, and is found by it.
func TestAccount_FindsWhatEachPlantedBugLeaves(t *testing.T) {
	for name, bug := range map[string]struct {
		plant func(a *account)
		found string
	}{
		"RemoveDisks is forgotten after a move": {func(a *account) {
			a.hosts["b"]["i1"] = (&held{}).withRoot(1, 1)
		}, "b holds i1"},
		"old disks stay beside the new ones": {func(a *account) {
			a.hosts["a"]["i1"].withRoot(2, 1)
		}, "disks of epoch 1 are left"},
		"a deleted instance keeps its domain": {func(a *account) {
			a.servers, a.machines[0].Used = a.servers[1:], room{}
		}, "a holds i1"},
		"a tombstone's room is never given back": {func(a *account) { a.machines[0].Used.VCPUs = 2 }, "a is said to hold 2 vCPU"},
		"the room of a snapshot is forgotten":    {func(a *account) { a.snapshots = []snapshot{{ID: "s", Status: "available", Size: 1}} }, "2 GiB; what there is has 3"},
		"a guest that is to run is off":          {func(a *account) { a.hosts["a"]["i1"].Power = virt.PowerOff }, "its domain has power"},
		"saved memory is lost":                   {func(a *account) { a.hosts["b"]["i2"].Saved = false }, "saved false"},
		"it boots from its rescue disk still": {func(a *account) {
			s := &a.hosts["a"]["i1"].Storage
			s.Files = append(s.Files, file{Epoch: 1, ID: virt.DiskRescue})
		}, "rescue disk"},
		"a volume is detached and the domain has it": {func(a *account) {
			a.servers[1].Volumes, a.volumes[0].Attachments, a.volumes[0].Status = nil, nil, "available"
		}, "it has the volumes [v]"},
		"a volume is attached to a server that is gone": {func(a *account) {
			a.servers, a.hosts["b"], a.machines[1].Used = a.servers[:1], nil, room{DiskGiB: 1}
		}, "attached to i2, which does not know"},
		"the file of a deleted volume stays": {func(a *account) { a.left["a"] = []string{"volumes/w"} }, "volumes/w left"},
		"a capture leaves its file":          {func(a *account) { a.left["a"] = []string{"captures/x.qcow2"} }, "captures/x.qcow2 left"},
		"a task never ends":                  {func(a *account) { task := "migrating"; a.servers[0].Task = &task }, "the task is migrating"},
		"a migration never ends":             {func(a *account) { a.migrations[0].Status = "running" }, "is running"},
		"an image is never complete":         {func(a *account) { a.images[0].Status = "saving" }, "is saving"},
		"a node finds what is not its own":   {func(a *account) { a.machines[0].Quarantine = []string{"x"} }, "a leaves alone"},
	} {
		t.Run(name, func(t *testing.T) {
			a := sound()
			bug.plant(a)
			if got := strings.Join(a.faults(), "\n"); !strings.Contains(got, bug.found) {
				t.Errorf("found %q, not %q", got, bug.found)
			}
		})
	}
}
