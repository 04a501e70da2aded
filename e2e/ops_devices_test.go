package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/kilonova/kilonova/e2e/cloud"
	"github.com/kilonova/kilonova/e2e/guest"
)

// A running guest is given cards and volumes, and has them taken away; its console and screen are opened through the node that
// it is not on; it gets a non-maskable interrupt, and is locked.
func TestOperations_Devices(t *testing.T) {
	small := buildSmall(t)
	s := newStage(t, cloud.Options{Nodes: 2})
	s.furnishOps(small)
	l := s.begin("handled", s.Nodes[1])
	s.run("a port comes and goes", func(s *stage) { l.on(s).port() })
	s.run("its consoles are opened through another node", func(s *stage) { l.on(s).consoles() })
	s.run("a volume comes, keeps what was written to it, and goes", func(s *stage) { l.on(s).volume() })
	s.run("it is looked into, and interrupted", func(s *stage) { l.on(s).inside() })
	s.run("while it is locked, members cannot touch it", func(s *stage) { l.on(s).lock() })
}

// The guest sees a new card with the port's address within a moment, and then sees it go. It counts on all the while.
func (l *life) port() {
	before := l.told()
	port := l.saved(l.openstack(l.via, "port", "create", "--network", "lan", "-f", "value", "-c", "id", "second"))
	mac := strings.TrimSpace(l.openstack(l.via, "port", "show", "-f", "value", "-c", "mac_address", port))
	l.openstack(l.via, "server", "add", "port", l.ID, port)
	name := l.device("a card with "+mac, func(d guest.Device) bool { return d.MAC == mac })
	l.openstack(l.via, "server", "remove", "port", l.ID, port)
	l.gone(name)
	l.goesOn(before)
	if len(l.refresh().Addresses["lan"]) != 1 {
		l.t.Errorf("the addresses are %+v", l.Addresses)
	}
}

// device waits for a device of the guest, and returns its name there.
func (l *life) device(what string, is func(guest.Device) bool) (name string) {
	l.t.Helper()
	l.eventually("the guest has "+what, actLimit, func() error {
		c, err := l.hear()
		for n, d := range c.Devices {
			if is(d) {
				name = n
				return nil
			}
		}
		return fmt.Errorf("it has %+v, %v", c.Devices, err)
	})
	return name
}

// gone waits until the guest has a device no more.
func (l *life) gone(name string) {
	l.t.Helper()
	l.eventually("the guest has lost "+name, actLimit, func() error {
		c, err := l.hear()
		if _, there := c.Devices[name]; there || err != nil {
			return fmt.Errorf("it has %+v, %v", c.Devices, err)
		}
		return nil
	})
}

// What is typed on the serial console reaches the guest, through the node that it is not on; its screen greets as VNC does. No
// token is good for two.
func (l *life) consoles() {
	if said := l.order("echo hello from $(hostname)"); said != "hello from handled" && !strings.HasPrefix(said, "hello from handled.") {
		l.t.Errorf("the guest said %q", said)
	}
	url := strings.TrimSpace(l.openstack(l.via, "console", "url", "show", "--novnc", "-f", "value", "-c", "url", l.ID))
	if greeting, err := l.vnc(url); err != nil || !strings.HasPrefix(greeting, "RFB 003.") {
		l.t.Errorf("the screen greets with %q, %v", greeting, err)
	}
	if greeting, err := l.vnc(url); err == nil {
		l.t.Errorf("a token that was used greets with %q", greeting)
	}
	log := l.openstack(l.via, "console", "log", "show", "--lines", "3", l.ID)
	if !strings.Contains(log, "count ") {
		l.t.Errorf("the end of the log is %q", log)
	}
}

// A volume is attached to the running guest, which writes to it; it is taken away, given back, and holds what was written. It
// is still there after the guest was stopped and started.
func (l *life) volume() {
	before := l.told()
	id := l.newVolume("--size", "1", "data")
	l.openstack(l.via, "server", "add", "volume", l.ID, id)
	is := func(d guest.Device) bool {
		return d.Bytes == 1<<30 && d.Serial != "" && strings.HasPrefix(id, d.Serial)
	}
	disk := l.device("the volume", is)
	l.volumeBecomes(id, "in-use")
	l.order("echo written once | dd of=/dev/" + disk + " bs=4096 conv=sync,fsync")
	a, err := l.Ask(l.ctx, l.via, cloud.Request{Method: http.MethodDelete, Path: "/volume/v3/volumes/" + id})
	if err != nil || a.Status != http.StatusBadRequest && a.Status != http.StatusNotFound {
		l.t.Errorf("deleting a volume in use is answered with %d %s, %v", a.Status, a.Body, err)
	}
	l.openstack(l.via, "server", "remove", "volume", l.ID, id)
	l.gone(disk)
	l.volumeBecomes(id, "available")
	l.goesOn(before)

	l.openstack(l.via, "server", "add", "volume", l.ID, id)
	disk = l.device("the volume again", is)
	read := "dd if=/dev/" + disk + " bs=4096 count=1 iflag=direct 2>/dev/null | head -n 1"
	if said := l.order(read); said != "written once" {
		l.t.Errorf("the volume holds %q", said)
	}
	before = l.told()
	l.does("SHUTOFF", "stop", l.ID)
	l.does("ACTIVE", "start", l.ID)
	l.beginsAnew(before)
	disk = l.device("the volume after a boot", is)
	if said := l.order("dd if=/dev/" + disk + " bs=4096 count=1 iflag=direct 2>/dev/null | head -n 1"); said != "written once" {
		l.t.Errorf("after a boot the volume holds %q", said)
	}
	l.openstack(l.via, "server", "remove", "volume", l.ID, id)
	l.gone(disk)
	l.volumeBecomes(id, "available")
	l.openstack(l.via, "volume", "delete", id)
}

// newVolume makes a volume and waits until it is available.
func (s *stage) newVolume(args ...string) string {
	s.t.Helper()
	via := s.Nodes[0]
	id := anyUUID.FindString(s.openstack(via, append([]string{"volume", "create", "-f", "value", "-c", "id"}, args...)...))
	s.volumeBecomes(id, "available")
	return id
}

func (s *stage) volumeBecomes(id, want string) {
	s.t.Helper()
	s.eventually("volume "+id+" becomes "+want, actLimit, func() error {
		var got struct{ Volume struct{ Status string } }
		if err := s.Get(s.ctx, s.Nodes[0], "/volume/v3/volumes/"+id, &got); err != nil {
			return err
		}
		if got.Volume.Status != want {
			return fmt.Errorf("it is %s", got.Volume.Status)
		}
		return nil
	})
}

// Diagnostics come from the guest's hypervisor; a crash dump reaches its kernel; a password does not, for want of an agent.
func (l *life) inside() {
	before := l.told()
	var found struct {
		State, Driver string
		Uptime        int
	}
	l.must(l.Do(l.ctx, l.via, cloud.Request{Path: "/compute/v2.1/servers/" + l.ID + "/diagnostics",
		Header: map[string]string{"X-OpenStack-Nova-API-Version": "2.48"}}, &found, http.StatusOK))
	if found.State != "running" || found.Driver != "libvirt" {
		l.t.Errorf("diagnostics are %+v", found)
	}
	l.openstack(l.via, "--os-compute-api-version", "2.17", "server", "dump", "create", l.ID)
	l.waitConsole(l.via, l.ID, `NMI received for unknown reason`, actLimit)
	l.refused(http.StatusConflict, "changePassword", map[string]string{"adminPass": "secret"})
	l.goesOn(before)
}

// A member of the project cannot stop a server that an administrator locked, and can once it is unlocked.
func (l *life) lock() {
	via := l.via
	l.openstack(via, "user", "create", "--password", "only for tests", "--project", "admin", "mel")
	l.openstack(via, "role", "add", "--user", "mel", "--project", "admin", "member")
	domain := map[string]string{"name": "Default"}
	a, err := l.Ask(l.ctx, via, cloud.Request{Method: http.MethodPost, Path: "/identity/v3/auth/tokens", Body: map[string]any{"auth": map[string]any{
		"identity": map[string]any{"methods": []string{"password"},
			"password": map[string]any{"user": map[string]any{"name": "mel", "password": "only for tests", "domain": domain}}},
		"scope": map[string]any{"project": map[string]any{"name": "admin", "domain": domain}},
	}}})
	l.must(err)
	l.must(a.Want(http.StatusCreated))
	asMel := cloud.Request{Method: http.MethodPost, Path: "/compute/v2.1/servers/" + l.ID + "/action",
		Body: map[string]any{"pause": nil}, Token: a.Header.Get("X-Subject-Token")}

	l.openstack(via, "server", "set", "--property", "kept=yes", l.ID)
	if shown := l.openstack(via, "server", "show", "-f", "value", "-c", "properties", l.ID); !strings.Contains(shown, "kept") {
		l.t.Errorf("the properties are %s", shown)
	}
	l.openstack(via, "server", "lock", l.ID)
	l.must(l.Do(l.ctx, via, asMel, nil, http.StatusConflict))
	l.openstack(via, "server", "unlock", l.ID)
	l.must(l.Do(l.ctx, via, asMel, nil, http.StatusAccepted))
	l.become("PAUSED")
	l.does("ACTIVE", "unpause", l.ID)
}
