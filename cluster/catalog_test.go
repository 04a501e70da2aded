package cluster

import (
	"math"
	"slices"
	"testing"
)

func TestPutImage_Refusals(t *testing.T) {
	w := newTown(t)
	good := Image{ID: "i", Owner: home, Status: ImageQueued, Visibility: Private}
	for words, x := range map[string]struct {
		change func(*Image)
		code   Code
	}{
		"status":       {func(i *Image) { i.Status = "new" }, Invalid},
		"visibility":   {func(i *Image) { i.Visibility = "some" }, Invalid},
		"min_disk":     {func(i *Image) { i.Format.MinDiskGiB = -1 }, Invalid},
		"without data": {func(i *Image) { i.Status = ImageActive }, Invalid},
		"root":         {func(i *Image) { i.Data = &ImageData{} }, Invalid},
		"sorted":       {func(i *Image) { i.Data = &ImageData{Root: Hash{1}, Nodes: []NodeID{"b", "a"}} }, Invalid},
		"and differ":   {func(i *Image) { i.Data = &ImageData{Root: Hash{1}, Nodes: []NodeID{"a", "a"}} }, Invalid},
		"name":         {func(i *Image) { i.Name = "a\x00" }, Invalid},
		"properties":   {func(i *Image) { i.Properties = many(257) }, Invalid},
		"project":      {func(i *Image) { i.Owner = "nobody" }, NotFound},
		"exists":       {func(i *Image) { i.ID = disk }, Conflict},
		"could not":    {func(i *Image) { i.Revision = 3 }, NotFound},
	} {
		i := good
		x.change(&i)
		w.refuse(&PutImage{Image: i}, x.code, words)
	}
	w.do(&PutImage{Image: good})
	i, _ := w.s.View().Image("i")
	c := i.Clone()
	c.Protected = true
	w.do(&PutImage{Image: *c})
	w.refuse(&PutImage{Image: *c}, Stale, "in the meantime")
	w.refuse(&DeleteImage{ID: "i"}, Forbidden, "Image i is protected and cannot be deleted.")
	w.refuse(&DeleteImage{ID: "j"}, NotFound, "Image j")
	if u := w.s.View().Usage(home); u.Images != 2 {
		t.Fatalf("usage is %+v", u)
	}
}

// An instance is still being built from the image. It needs it; when it runs, it does not any more.
func TestDeleteImage_NotWhileAnInstanceIsBuiltFromIt(t *testing.T) {
	w := newTown(t)
	w.do(create("a", first))
	w.refuse(&DeleteImage{ID: disk}, Conflict, "in use")
	w.reports("a", power(PowerRunning))
	w.do(&DeleteImage{ID: disk})
}

// Nodes come and go as holders of an image's data; news about data that it had before is stale.
func TestAddImageNode_KeepsTheHoldersSorted(t *testing.T) {
	w := newTown(t)
	w.enrol("n0", "192.0.2.5")
	for range 2 {
		w.do(&AddImageNode{ID: disk, Root: Hash{1}, Node: "n0"})
	}
	if i, _ := w.s.View().Image(disk); !slices.Equal(i.Data.Nodes, []NodeID{"n0", first}) {
		t.Fatalf("held by %v", i.Data.Nodes)
	}
	w.do(&AddImageNode{ID: disk, Root: Hash{1}, Node: first, Gone: true})
	if i, _ := w.s.View().Image(disk); !slices.Equal(i.Data.Nodes, []NodeID{"n0"}) {
		t.Fatalf("held by %v", i.Data.Nodes)
	}
	w.refuse(&AddImageNode{ID: disk, Root: Hash{2}, Node: "n0"}, Stale, "other data")
	w.refuse(&AddImageNode{ID: "x", Root: Hash{1}, Node: "n0"}, NotFound, "Image x")
	w.refuse(&AddImageNode{ID: disk, Root: Hash{1}, Node: "n9"}, NotFound, "Node n9")
	w.do(&PutImage{Image: Image{ID: "q", Status: ImageQueued, Visibility: Private}})
	w.refuse(&AddImageNode{ID: "q", Root: Hash{1}, Node: "n0"}, Stale, "other data")
}

func TestPutFlavor_Refusals(t *testing.T) {
	w := newTown(t)
	for words, x := range map[string]struct {
		change func(*Flavor)
		code   Code
	}{
		"Flavor with ID 1 already exists.":      {func(f *Flavor) { f.ID = "1" }, Conflict},
		"Flavor with name small already exists": {func(f *Flavor) { f.Name = "small" }, Conflict},
		"vcpus":                                 {func(f *Flavor) { f.VCPUs = 0 }, Invalid},
		"ram":                                   {func(f *Flavor) { f.MemoryMiB = 1 << 40 }, Invalid},
		"swap":                                  {func(f *Flavor) { f.SwapMiB = -1 }, Invalid},
		"rxtx":                                  {func(f *Flavor) { f.RxTxFactor = math.NaN() }, Invalid},
		"ID":                                    {func(f *Flavor) { f.ID = "" }, Invalid},
		"extra specs":                           {func(f *Flavor) { f.ExtraSpecs = many(257) }, Invalid},
		"could not":                             {func(f *Flavor) { f.Revision = 1 }, NotFound},
	} {
		f := someFlavor()
		f.ID, f.Name = "2", "other"
		x.change(&f)
		w.refuse(&PutFlavor{Flavor: f}, x.code, words)
	}
	w.active("a")
	w.do(&DeleteFlavor{ID: "1"})
	if w.instance("a").Spec.Flavor.Name != "small" {
		t.Fatal("the instance lost its flavor")
	}
	w.refuse(&DeleteFlavor{ID: "1"}, NotFound, "Flavor 1 could not be found.")
	w.do(&PutFlavor{Flavor: someFlavor()})
}

func TestCreateKeyPair_IsBoundedForEachUser(t *testing.T) {
	w := newTown(t)
	w.do(&PutQuota{Quota: Quota{Project: home, Limits: map[QuotaName]int64{QuotaKeyPairs: 2}}})
	pair := func(name string) *CreateKeyPair {
		return &CreateKeyPair{KeyPair: KeyPair{User: root, Name: name, Type: "ssh"}, Project: home}
	}
	w.do(pair("a"))
	w.refuse(pair("a"), Conflict, "Key pair 'a' already exists.")
	w.do(pair("b"))
	w.refuse(pair("c"), OverQuota, "Quota exceeded, too many key pairs.")
	w.do(&DeleteKeyPair{User: root, Name: "a"})
	w.do(pair("c"))
	if k, _ := w.s.View().KeyPair(root, "c"); k.Number != 3 {
		t.Fatalf("its number is %d", k.Number)
	}
	w.refuse(&DeleteKeyPair{User: root, Name: "a"}, NotFound, "Keypair a not found")
	bad := pair("x\x00y")
	w.refuse(bad, Invalid, "name")
	bad = pair("x")
	bad.KeyPair.User = "nobody"
	w.refuse(bad, NotFound, "user: nobody")
}

func TestPutQuota_Refusals(t *testing.T) {
	w := newTown(t)
	w.refuse(&PutQuota{Quota: Quota{Project: "x"}}, NotFound, "project: x")
	w.refuse(&PutQuota{Quota: Quota{Project: home, Limits: map[QuotaName]int64{QuotaCores: -2}}}, Invalid, "limit")
	w.refuse(&PutQuota{Quota: Quota{Project: home, Limits: map[QuotaName]int64{"a b": 1}}}, Invalid, "limit")
	w.do(&PutQuota{Quota: Quota{Project: home, Limits: map[QuotaName]int64{QuotaCores: 1}}})
	w.refuse(&PutQuota{Quota: Quota{Project: home}}, Conflict, "exists already")
	if got := w.s.View().Limit(home, QuotaCores); got != 1 {
		t.Fatalf("limit is %d", got)
	}
	w.do(&DeleteQuota{Project: home})
	w.do(&DeleteQuota{Project: home})
	if got := w.s.View().Limit(home, QuotaCores); got != 20 {
		t.Fatalf("limit is %d", got)
	}
}
