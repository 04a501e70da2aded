package cluster

import (
	"strings"
	"testing"
)

func TestCreateInstances_Refusals(t *testing.T) {
	w := newTown(t)
	w.do(&PutPort{Port: *somePort("free", "free")})
	w.active("a")
	w.do(&PutImage{Image: Image{ID: "queued", Owner: home, Status: ImageQueued, Visibility: Private}})
	w.do(&PutProject{Project: Project{ID: "p2", Name: "two"}})
	for name, x := range map[string]struct {
		change func(*CreateInstances)
		code   Code
		words  string
	}{
		"none":               {func(o *CreateInstances) { o.Items = nil }, Invalid, "number of instances"},
		"too many":           {func(o *CreateInstances) { o.Items = make([]NewInstance, 1001) }, Invalid, "number of instances"},
		"no project":         {func(o *CreateInstances) { o.Project = "nobody" }, NotFound, "Could not find project: nobody."},
		"no name":            {func(o *CreateInstances) { o.Items[0].Name = "" }, Invalid, "must not be empty"},
		"NUL in the name":    {func(o *CreateInstances) { o.Items[0].Name = "a\x00" }, Invalid, "control character"},
		"long name":          {func(o *CreateInstances) { o.Items[0].Name = strings.Repeat("ä", 256) }, Invalid, "255"},
		"ID that is a path":  {func(o *CreateInstances) { o.Items[0].ID = "../../etc" }, Invalid, "ID"},
		"hidden ID":          {func(o *CreateInstances) { o.Items[0].ID = ".." }, Invalid, "ID"},
		"ID taken":           {func(o *CreateInstances) { o.Items[0].ID = "a" }, Conflict, "Instance a exists"},
		"ID twice":           {func(o *CreateInstances) { o.Items = append(o.Items, o.Items[0]) }, Conflict, "exists already"},
		"no such image":      {func(o *CreateInstances) { o.Spec.Image = "gone" }, Invalid, "Can not find requested image"},
		"no such kernel":     {func(o *CreateInstances) { o.Spec.Boot.Kernel = "gone" }, Invalid, "Can not find requested image"},
		"no such ramdisk":    {func(o *CreateInstances) { o.Spec.Boot.Ramdisk = "gone" }, Invalid, "Can not find requested image"},
		"image not active":   {func(o *CreateInstances) { o.Spec.Image = "queued" }, Invalid, "Image queued is not active."},
		"flavor of nothing":  {func(o *CreateInstances) { o.Spec.Flavor.VCPUs = 0 }, Invalid, "vcpus"},
		"negative disk":      {func(o *CreateInstances) { o.Spec.Flavor.DiskGiB = -1 }, Invalid, "disk"},
		"much user data":     {func(o *CreateInstances) { o.Spec.UserData = make([]byte, 64<<10+1) }, Invalid, "user data"},
		"bad lock":           {func(o *CreateInstances) { o.Spec.Locked = "me" }, Invalid, "locked"},
		"bad access address": {func(o *CreateInstances) { o.Spec.Access[0] = "here" }, Invalid, "accessIPv4"},
		"much metadata":      {func(o *CreateInstances) { o.Spec.Metadata = many(129) }, OverQuota, "Maximum number of metadata items exceeds 128"},
		"NUL in metadata":    {func(o *CreateInstances) { o.Spec.Metadata = map[string]string{"k": "\x00"} }, Invalid, "control character"},
		"port of nothing":    {func(o *CreateInstances) { o.Items[0].Ports = []NewPort{{}} }, Invalid, "either"},
		"port unknown":       {func(o *CreateInstances) { o.Items[0].Ports = []NewPort{{Existing: "p9"}} }, Invalid, "Port id p9 could not be found."},
		"port in use":        {func(o *CreateInstances) { o.Items[0].Ports = []NewPort{{Existing: "port-a"}} }, Conflict, "Port port-a is still in use."},
		"port of another":    {func(o *CreateInstances) { o.Project, o.Items[0].Ports = "p2", []NewPort{{Existing: "free"}} }, Invalid, "could not be found"},
		"port twice": {func(o *CreateInstances) { o.Items[0].Ports = []NewPort{{Existing: "free"}, {Existing: "free"}} },
			Conflict, "still in use"},
		"half-way": {func(o *CreateInstances) {
			o.Items[0].Ports = []NewPort{{Existing: "free"}, {New: somePort("n1", "n1")}, {Existing: "port-a"}}
		}, Conflict, "still in use"},
		"port ID taken":   {func(o *CreateInstances) { o.Items[0].Ports[0].New.ID = "free" }, Conflict, "Port free exists"},
		"MAC taken":       {func(o *CreateInstances) { o.Items[0].Ports[0].New.MAC = somePort("", "free").MAC }, Conflict, "mac address"},
		"bad MAC":         {func(o *CreateInstances) { o.Items[0].Ports[0].New.MAC = "x" }, Invalid, "MAC"},
		"network unknown": {func(o *CreateInstances) { o.Items[0].Ports[0].New.Network = "x" }, NotFound, "Network x"},
		"long reasons":    {func(o *CreateInstances) { o.Items[0].Explanation = &Explanation{Reasons: make([]string, 65)} }, Invalid, "reasons"},
	} {
		o := create("new", first)
		x.change(o)
		t.Run(name, func(t *testing.T) {
			w.t = t
			w.refuse(o, x.code, x.words)
		})
	}
}

func many(n int) map[string]string {
	m := make(map[string]string)
	for i := range n {
		m[strings.Repeat("k", i+1)] = ""
	}
	return m
}

// The project may have so much. Asking for more is refused in Nova's words, which name all that is over.
func TestCreateInstances_OverQuotaInNovasWords(t *testing.T) {
	w := newTown(t)
	w.do(&PutQuota{Quota: Quota{Project: home, Limits: map[QuotaName]int64{QuotaInstances: 2, QuotaCores: 4, QuotaPorts: 2}}})
	w.do(create("a", first))
	w.do(create("b", first))
	w.refuse(create("c", first), OverQuota,
		"Quota exceeded for cores, instances: Requested 2, 1, but already used 4, 2 of 4, 2 cores, instances")
	q, _ := w.s.View().Quota(home)
	w.do(&PutQuota{Quota: Quota{Project: home, Revision: q.Revision, Limits: map[QuotaName]int64{QuotaInstances: -1, QuotaCores: -1, QuotaPorts: 2}}})
	w.refuse(create("c", first), OverQuota, "Maximum number of ports exceeded")
	q, _ = w.s.View().Quota(home)
	w.do(&PutQuota{Quota: Quota{Project: home, Revision: q.Revision, Limits: map[QuotaName]int64{QuotaInstances: 3}}})
	w.do(create("c", first)) // exactly as much as is allowed
}

// The leader chose a node, and by the time that the command is applied there is no room, or the node is not what it
// was. The create still succeeds and the instance waits for another node.
func TestCreateInstances_WaitsWhenItsNodeHasNoRoomAnyMore(t *testing.T) {
	for name, spoil := range map[string]func(*town) NodeID{
		"full": func(w *town) NodeID {
			for _, id := range []string{"f1", "f2", "f3", "f4"} { // 8 vCPUs of 8
				w.do(create(id, first))
			}
			return first
		},
		"disabled": func(w *town) NodeID {
			w.do(&SetNodeService{ID: first, Service: ServiceState{Disabled: true}})
			return first
		},
		"not ready": func(w *town) NodeID {
			n := someNode(first, "192.0.2.1")
			n.Host.Ready = false
			w.do(&UpdateNode{Node: n})
			return first
		},
		"unknown": func(*town) NodeID { return "n9" },
	} {
		t.Run(name, func(t *testing.T) {
			w := newTown(t)
			node := spoil(w)
			w.do(create("a", node))
			in := w.wantState("a", VMBuilding, TaskScheduling, PowerNoState)
			if in.Node != "" || in.Epoch != 0 || in.Placement != nil {
				t.Fatalf("it is on %q at epoch %d", in.Node, in.Epoch)
			}
			w.refuse(&PlaceInstance{ID: "a", Generation: 1, Node: node}, NoRoom, "node")
		})
	}
}

// No node fits: the instance is in error, with Nova's words and the reasons.
func TestPlaceInstance_WithoutANodeIsAFaultWithReasons(t *testing.T) {
	w := newTown(t)
	o := create("a", "")
	o.Items[0].Explanation = &Explanation{Considered: 2, Reasons: []string{"n1 short of 2 vCPU", "n2 draining"}}
	w.do(o)
	w.do(create("b", ""))
	w.do(&PlaceInstance{ID: "b", Generation: 1, Explanation: Explanation{Reasons: []string{"n1 short of 2 vCPU", "n2 draining"}}})
	for _, id := range []string{"a", "b"} {
		in := w.wantState(id, VMError, TaskNone, PowerNoState)
		f := in.Status.Fault
		if f == nil || f.Code != 500 || f.Message != "No valid host was found. There are not enough hosts available. n1 short of 2 vCPU, n2 draining" ||
			f.Details != "n1 short of 2 vCPU\nn2 draining" {
			t.Fatalf("fault of %s is %+v", id, f)
		}
		if got := w.actions(id); got != "create: conductor_schedule_and_build_instances=Error\n" {
			t.Fatalf("actions of %s: %s", id, got)
		}
		w.refuse(&PlaceInstance{ID: InstanceID(id), Generation: 1, Node: first}, Conflict, "does not wait for a node")
		w.refuse(&SetPower{ID: InstanceID(id), Wanted: WantOff}, Conflict, "not ready")
	}
}

func TestPlaceInstance_StaleGenerationIsRefused(t *testing.T) {
	w := newTown(t)
	w.do(create("a", ""))
	w.refuse(&PlaceInstance{ID: "a", Generation: 2, Node: first}, Stale, "in the meantime")
	w.refuse(&PlaceInstance{ID: "a", Generation: 1, Epoch: 1, Node: first}, Stale, "in the meantime")
	w.refuse(&PlaceInstance{ID: "b", Generation: 1, Node: first}, NotFound, "Instance b")
	w.do(&PlaceInstance{ID: "a", Generation: 1, Node: first, Explanation: Explanation{Node: first}})
	in := w.wantState("a", VMBuilding, TaskSpawning, PowerNoState)
	if in.Node != first || in.Epoch != 1 || in.Placement == nil {
		t.Fatalf("placed as %+v", in)
	}
	if p, _ := w.s.View().Port("port-a"); p.DeviceOwner != "compute:z1" || p.Device != "a" || !p.AutoDelete {
		t.Fatalf("its port is %+v", p)
	}
	w.refuse(&PlaceInstance{ID: "a", Generation: 1, Epoch: 1, Node: first}, Conflict, "does not wait")
	w.reports("a", power(PowerRunning))
	if got := w.actions("a"); got != "create: compute__do_build_and_run_instance=Success\n" {
		t.Fatalf("actions: %s", got)
	}
}

// A port that the user brought stays when the instance goes, free for another; one that was made for it goes with it.
func TestDeleteInstance_KeepsThePortsThatWereBrought(t *testing.T) {
	w := newTown(t)
	w.do(&PutPort{Port: *somePort("mine", "mine")})
	o := create("a", first)
	o.Items[0].Ports = append([]NewPort{{Existing: "mine"}}, o.Items[0].Ports...)
	w.do(o)
	if in := w.instance("a"); len(in.Ports) != 2 || in.Ports[0] != "mine" {
		t.Fatalf("ports are %v", in.Ports)
	}
	address := addressesOf(t, w, "mine")
	w.do(&DeleteInstance{ID: "a"})
	w.reports("a", func(r *InstanceReport) { r.Gone = true })
	v := w.s.View()
	if _, ok := v.Port("port-a"); ok {
		t.Error("the port that was made for it is still there")
	}
	if p, ok := v.Port("mine"); !ok || p.Device != "" || p.DeviceOwner != "" || addressesOf(t, w, "mine") != address {
		t.Errorf("the port that was brought is %+v", p)
	}
	o = create("b", first)
	o.Items[0].Ports = []NewPort{{Existing: "mine"}}
	w.do(o)
}

// A flavor whose disk is as large as the image takes what the image asks for at least.
func TestSpecResources_RootDiskOfTheImage(t *testing.T) {
	s := Spec{Flavor: Flavor{VCPUs: 1, MemoryMiB: 2, Ephemeral: 3, SwapMiB: 1025}, Boot: BootSource{MinDiskGiB: 7}}
	if got := s.Resources().DiskGiB; got != 7+3+2 {
		t.Errorf("disk is %d GiB", got)
	}
	s.Flavor.DiskGiB = 20
	if got := s.Resources().DiskGiB; got != 20+3+2 {
		t.Errorf("disk is %d GiB", got)
	}
}

func TestUpdateInstance_ChangesOnlyWhatIsNamed(t *testing.T) {
	w := newTown(t)
	before := w.active("a")
	name, locked := "new", "owner"
	w.do(&UpdateInstance{ID: "a", Revision: before.Revision, Name: &name, Locked: &locked, Metadata: &map[string]string{"k": "v"}})
	in := w.instance("a")
	if in.Spec.Name != "new" || in.Spec.Hostname != before.Spec.Hostname || in.Spec.Locked != "owner" || in.Spec.Metadata["k"] != "v" {
		t.Fatalf("spec is %+v", in.Spec)
	}
	if in.Generation != before.Generation {
		t.Fatal("its domain was to be made anew")
	}
	empty, bad, words := "", "\x00", "someone"
	big := many(129)
	tags := make([]string, 51)
	w.refuse(&UpdateInstance{ID: "a", Revision: before.Revision, Name: &name}, Stale, "in the meantime")
	w.refuse(&UpdateInstance{ID: "a", Name: &empty}, Invalid, "must not be empty")
	w.refuse(&UpdateInstance{ID: "a", Description: &bad}, Invalid, "control character")
	w.refuse(&UpdateInstance{ID: "a", Locked: &words}, Invalid, "locked")
	w.refuse(&UpdateInstance{ID: "a", Metadata: &big}, OverQuota, "metadata items")
	w.refuse(&UpdateInstance{ID: "a", Tags: &tags}, Invalid, "tags")
	w.refuse(&UpdateInstance{ID: "a", Access: &[2]string{"x", ""}}, Invalid, "accessIPv4")
	w.refuse(&UpdateInstance{ID: "b"}, NotFound, "Instance b")
}

// A page of a listing begins behind any instance, also one that was deleted meanwhile.
func TestInstancesOf_ListsNewestFirstAndPages(t *testing.T) {
	w := newTown(t)
	for _, id := range []string{"a", "b", "c"} {
		w.do(create(id, ""))
	}
	list := func(after *Instance) string {
		var b strings.Builder
		for in := range w.s.View().InstancesOf(home, after) {
			b.WriteString(string(in.ID))
		}
		return b.String()
	}
	if got := list(nil); got != "cba" {
		t.Fatalf("all: %s", got)
	}
	if got := list(w.instance("c")); got != "ba" {
		t.Fatalf("behind c: %s", got)
	}
	b := w.instance("b")
	w.do(&DeleteInstance{ID: "b"})
	if got := list(b); got != "a" {
		t.Fatalf("behind b, which is gone: %s", got)
	}
}

// What is left of a deleted instance is for listings. Its user's secrets are not.
func TestDeleteInstance_LeavesNoSecrets(t *testing.T) {
	w := newTown(t)
	o := create("a", "")
	o.Spec.UserData, o.Spec.AdminPass, o.Spec.PublicKey = []byte("secret"), "secret", "ssh"
	w.do(o)
	w.do(&DeleteInstance{ID: "a"})
	in, _ := w.s.View().DeletedInstance("a")
	if p := in.Spec; p.UserData != nil || p.AdminPass != "" || p.PublicKey != "" {
		t.Fatalf("left is %+v", p)
	}
}

// Somebody wrote an instance's ID into a port before the instance was made. The ID is not to be had any more.
func TestCreateInstances_IDThatAPortNamesIsRefused(t *testing.T) {
	w := newTown(t)
	p := somePort("p", "p")
	p.Device = "a"
	w.do(&PutPort{Port: *p})
	w.refuse(create("a", first), Conflict, "exists already")
}

// A user stops and starts an instance for ever. Only so many actions are kept, the newest.
func TestSetPower_KeepsABoundedNumberOfActions(t *testing.T) {
	w := newTown(t)
	w.active("a")
	for range maxActions {
		w.do(&SetPower{ID: "a", Wanted: WantOn, Reboot: RebootHard})
	}
	n, kind := 0, ""
	for a := range w.s.View().Actions("a") {
		if n++; n == 1 {
			kind = a.Kind
		}
	}
	if n != maxActions || kind != "reboot" {
		t.Fatalf("%d actions are kept, the oldest is %s", n, kind)
	}
}
