package cluster

import (
	"strings"
	"testing"
)

// A shelved instance is deleted. The image that it was saved to goes with it, unless somebody protected it.
func TestShelve_DeletedWithItsImage(t *testing.T) {
	for _, protected := range []bool{false, true} {
		w := newTown(t)
		w.active("a")
		w.do(&BeginCapture{ID: "a", By: operator, Operation: "o1", What: OpShelve, Image: anImage("i1", nil)})
		w.says("a", PowerShutdown)
		img, _ := w.s.View().Image("i1")
		img = img.Clone()
		img.Status, img.Protected = ImageActive, protected
		img.Data = &ImageData{Root: Hash{1}, Size: 1, Nodes: []NodeID{}}
		w.do(&PutImage{Image: *img})
		w.advance("a", AdvanceOperation{Done: true})
		w.is("shelved", "a", "", VMOffloaded, TaskNone, "")
		w.do(&DeleteInstance{ID: "a"})
		if _, ok := w.s.View().Image("i1"); ok != protected {
			t.Errorf("protected %v: the image is there: %v", protected, ok)
		}
	}
}

// One that boots from a volume is put away without an image, running or off. It keeps its volumes, and comes back to them.
func TestShelve_InItsVolumes(t *testing.T) {
	for _, running := range []bool{true, false} {
		w := newTown(t)
		w.bootedFrom("a")
		if !running {
			w.do(&SetPower{ID: "a", Wanted: WantOff})
			w.says("a", PowerShutdown)
		}
		w.do(&BeginCapture{ID: "a", By: operator, Operation: "o1", What: OpShelve, Image: anImage("i1", nil)})
		if running {
			w.is("asked to go off", "a", first, VMActive, TaskShelving, StepStopping)
			w.says("a", PowerShutdown)
		}
		w.is("shelved", "a", "", VMOffloaded, TaskNone, "")
		if _, ok := w.s.View().Image("i1"); ok {
			t.Error("there is an image")
		}
		if got := w.actions("a"); !strings.Contains(got, "shelve") || strings.Contains(got, "Error") {
			t.Errorf("the actions are %s", got)
		}
		w.status("root", VolumeInUse)
		w.gone("a", first)
		w.do(&UnshelveInstance{ID: "a", By: operator})
		in := w.instance("a")
		w.do(&PlaceInstance{ID: "a", Generation: in.Generation, Epoch: in.Epoch})
		w.is("no room", "a", "", VMOffloaded, TaskNone, "")
		w.do(&UnshelveInstance{ID: "a", By: operator})
		in = w.instance("a")
		w.do(&PlaceInstance{ID: "a", Generation: in.Generation, Epoch: in.Epoch, Node: first})
		w.says("a", PowerRunning)
		w.is("back", "a", first, VMActive, TaskNone, "")
		if in := w.instance("a"); in.Mode.away() {
			t.Errorf("it is still away: %+v", in.Mode)
		}
		w.status("root", VolumeInUse)
		w.do(&BeginCapture{ID: "a", By: operator, Operation: "o2", What: OpShelve, Image: anImage("i2", nil)})
		w.do(&AdvanceOperation{Node: first, ID: "a", Operation: "o2", Step: StepStopping, Error: "It does not go off."})
		w.is("undone", "a", first, VMActive, TaskPoweringOn, "")
	}
}
