package main

import (
	"strings"
	"testing"
)

// TestCLI_ServersThroughTheirLife does to a server what its user may do to it, one thing after the other, and looks each time
// at what has become of it.
func TestCLI_ServersThroughTheirLife(t *testing.T) {
	c := startNode(t)
	c.furnish()
	c.must("server create web --image debian --flavor small --network none --wait")
	status := func(want string) {
		t.Helper()
		if s := c.one("server show web"); s["status"] != want {
			t.Errorf("server is %v instead of %s", s["status"], want)
		}
	}
	for _, step := range []struct{ verb, status string }{
		{"pause", "PAUSED"}, {"unpause", "ACTIVE"}, {"suspend", "SUSPENDED"}, {"resume", "ACTIVE"},
	} {
		c.must("server %s web --wait", step.verb)
		status(step.status)
	}
	c.fails("Cannot 'unpause'", "server unpause web")
	c.fails("Cannot 'confirmResize'", "server confirm web")
	c.must("server lock web")
	c.must("server unlock web")
	if out := c.one("server rescue web --wait"); len(out["admin_password"].(string)) < 8 {
		t.Errorf("rescue printed %v", out)
	}
	status("RESCUE")
	c.must("server unrescue web --wait")
	if out := c.one("server rebuild web --image debian --password secret --wait"); out["admin_password"] != "secret" {
		t.Errorf("rebuild printed %v", out)
	}
	status("ACTIVE")
	c.must("flavor create large --ram 1024 --vcpus 1 --disk 2")
	c.must("server resize web --flavor large --wait")
	status("VERIFY_RESIZE")
	c.must("server revert web --wait")
	c.must("server resize web --flavor large --wait")
	c.must("server confirm web --wait")
	if s := c.one("server show web"); s["flavor"] != "large" || s["status"] != "ACTIVE" {
		t.Errorf("server is %v with flavor %v", s["status"], s["flavor"])
	}
	if i := c.one("server snapshot web --name snap --wait"); i["status"] != "active" || i["name"] != "snap" {
		t.Errorf("snapshot is %v", i)
	}
	c.must("server backup web --name b1 --wait")
	c.must("server backup web --name b2 --wait")
	if got := c.names("image list"); strings.Contains(got, "b1") || !strings.Contains(got, "b2") {
		t.Errorf("images %s: the older backup is to go", got)
	}
	c.must("server shelve web --wait")
	status("SHELVED_OFFLOADED")
	c.must("server unshelve web --host n1 --wait")
	status("ACTIVE")
	c.fails("No valid host", "server migrate web --live --wait")
	status("ACTIVE")
	c.fails("--rotate 0", "server backup web --name b --rotate 0")
	c.fails("could not be found", "server migrate web --live --host nowhere")
	c.fails("change flavor", "server resize web --flavor large")
	if _, _, err := c.run("server", "rebuild", "web"); err == nil || !strings.Contains(err.Error(), "image") {
		t.Errorf("a rebuild without an image: %v", err)
	}
}
