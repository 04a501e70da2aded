package audit

import (
	"strings"
	"testing"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/virt"
)

// sound is a cluster in which all is well: a server on a, and one that boots from a volume on b.
func sound() *Account {
	one := Server{ID: "i1", Name: "one", Status: "ACTIVE", Host: "a"}
	one.Flavor.VCPUs, one.Flavor.RAM, one.Flavor.Disk = 1, 64, 1
	two := Server{ID: "i2", Name: "two", Status: "SUSPENDED", Host: "b", Image: ""}
	two.Flavor.VCPUs, two.Flavor.RAM, two.Flavor.Disk = 2, 128, 2
	two.Volumes = append(two.Volumes, struct{ ID string }{"v"})
	h2 := &Held{Defined: true, Power: virt.PowerOff, Saved: true}
	h2.Storage.Volumes = append(h2.Storage.Volumes, struct {
		ID string `json:"id"`
	}{"v"})
	v := Volume{ID: "v", Name: "disk", Status: "in-use", Size: 1, Host: "b"}
	v.Attachments = append(v.Attachments, struct {
		Server string `json:"server_id"`
	}{"i2"})
	a, b := Machine{Name: "a"}, Machine{Name: "b"}
	a.Used.VCPUs, a.Used.MemoryMiB, a.Used.DiskGiB = 1, 64, 1
	b.Used.VCPUs, b.Used.MemoryMiB, b.Used.DiskGiB = 2, 128, 1
	return &Account{
		Servers: []Server{one, two}, Machines: []Machine{a, b}, Volumes: []Volume{v, {ID: "never", Name: "never used", Status: "available", Size: 7}},
		Migrations: []Migration{{Status: "confirmed"}}, Images: []Picture{{Status: "active"}},
		Hosts: map[string]map[string]*Held{"a": {"i1": running(0, 0, 0, 1)}, "b": {"i2": h2}},
		Left:  map[string][]string{"b": {"volumes/v"}},
	}
}

// copied gives the first server a copy on the second host.
func (a *Account) copied() *Copy {
	a.Servers[0].Metadata = map[string]string{"kilonova:replicas": "2"}
	a.Servers[0].Copy = &Copy{Node: "b", State: cluster.ReplicaCurrent, DiskGiB: 1}
	a.Hosts["b"]["i1"] = (&Held{}).withRoot(9, a.Hosts["a"]["i1"].Root().Notes.Boots)
	a.Machines[1].Used.DiskGiB++
	return a.Servers[0].Copy
}

func TestAccount_NothingIsFoundWhereAllIsWell(t *testing.T) {
	with := sound()
	with.copied()
	if faults := with.Faults(); len(faults) > 0 {
		t.Error(faults)
	}
	if faults := sound().Faults(); len(faults) > 0 {
		t.Error(faults)
	}
}

// Each planted bug leaves its trace at the end, and is found by it.
func TestAccount_FindsWhatEachPlantedBugLeaves(t *testing.T) {
	for name, bug := range map[string]struct {
		plant func(a *Account)
		found string
	}{
		"RemoveDisks is forgotten after a move": {func(a *Account) {
			a.Hosts["b"]["i1"] = (&Held{}).withRoot(1, 1)
		}, "b holds i1"},
		"old disks stay beside the new ones": {func(a *Account) {
			a.Hosts["a"]["i1"].withRoot(2, 1)
		}, "disks of epoch 1 are left"},
		"a deleted instance keeps its domain": {func(a *Account) {
			a.Servers, a.Machines[0].Used = a.Servers[1:], Room{}
		}, "a holds i1"},
		"a tombstone's room is never given back": {func(a *Account) { a.Machines[0].Used.VCPUs = 2 }, "a is said to hold 2 vCPU"},
		"the room of a snapshot is forgotten":    {func(a *Account) { a.Snapshots = []Snapshot{{ID: "s", Status: "available", Size: 1}} }, "2 GiB; what there is has 3"},
		"a guest that is to run is off":          {func(a *Account) { a.Hosts["a"]["i1"].Power = virt.PowerOff }, "its domain has power"},
		"saved memory is lost":                   {func(a *Account) { a.Hosts["b"]["i2"].Saved = false }, "saved false"},
		"it boots from its rescue disk still": {func(a *Account) {
			s := &a.Hosts["a"]["i1"].Storage
			s.Files = append(s.Files, File{Epoch: 1, ID: virt.DiskRescue})
		}, "rescue disk"},
		"a volume is detached and the domain has it": {func(a *Account) {
			a.Servers[1].Volumes, a.Volumes[0].Attachments, a.Volumes[0].Status = nil, nil, "available"
		}, "it has the volumes [v]"},
		"a volume is attached to a server that is gone": {func(a *Account) {
			a.Servers, a.Hosts["b"], a.Machines[1].Used = a.Servers[:1], nil, Room{DiskGiB: 1}
		}, "attached to i2, which does not know"},
		"the file of a deleted volume stays":     {func(a *Account) { a.Left["a"] = []string{"volumes/w"} }, "volumes/w left"},
		"a capture leaves its file":              {func(a *Account) { a.Left["a"] = []string{"captures/x.qcow2"} }, "captures/x.qcow2 left"},
		"a task never ends":                      {func(a *Account) { task := "migrating"; a.Servers[0].Task = &task }, "the task is migrating"},
		"a migration never ends":                 {func(a *Account) { a.Migrations[0].Status = "running" }, "is running"},
		"an image is never complete":             {func(a *Account) { a.Images[0].Status = "saving" }, "is saving"},
		"a server that asks for a copy has none": {func(a *Account) { a.Servers[0].Metadata = map[string]string{"kilonova:replicas": "2"} }, "it has no copy"},
		"a copy is never filled":                 {func(a *Account) { a.copied().State = cluster.ReplicaBuilding }, "its copy on b is building"},
		"a copy that counts is not there":        {func(a *Account) { a.copied(); delete(a.Hosts["b"], "i1") }, "not on b"},
		"a copy that counts lacks something":     {func(a *Account) { a.copied(); a.Hosts["b"]["i1"].Storage.Files[0].Notes.Boots = 0 }, "copy 0 times"},
		"an old copy is left":                    {func(a *Account) { a.copied(); a.Hosts["b"]["i1"].withRoot(2, 1) }, "b holds i1"},
		"a copy has a domain":                    {func(a *Account) { a.copied(); a.Hosts["b"]["i1"].Defined = true }, "b holds i1"},
		"the room of a copy is forgotten":        {func(a *Account) { a.copied(); a.Machines[1].Used.DiskGiB-- }, "what there is has"},
		"a node finds what is not its own":       {func(a *Account) { a.Machines[0].Quarantine = []string{"x"} }, "a leaves alone"},
	} {
		t.Run(name, func(t *testing.T) {
			a := sound()
			bug.plant(a)
			if got := strings.Join(a.Faults(), "\n"); !strings.Contains(got, bug.found) {
				t.Errorf("found %q, not %q", got, bug.found)
			}
		})
	}
}
