package cluster

import "testing"

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
