package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"

	"github.com/kilonova/kilonova/e2e/cloud"
	"github.com/kilonova/kilonova/e2e/guest"
)

// Flavors with disks beside the root: 1 GiB of ephemeral disk and 64 MiB of swap space.
const (
	opsRich   = "rich"
	opsRicher = "richer" // 2 GiB of root disk

	swapBytes = 64 << 20
)

// agentScript is a guest agent for the small guest, as far as it is needed: it answers line by line in the protocol of QEMU's
// (docs/interop/qemu-ga-ref), holds the file system of the guest still for real, and says on the console what it was told. A read of
// the port ends at once as long as nobody listens at its other end.
const agentScript = `#!/bin/sh
for port in /sys/class/virtio-ports/*; do
	[ "$(cat "$port/name")" = org.qemu.guest_agent.0 ] && dev=/dev/${port##*/}
done
serve() {
	exec 3<>"$dev"
	while :; do
		read -r line <&3 || { sleep 0.1; continue; }
		case $line in
		*guest-sync*) id=$(echo "$line" | sed 's/.*"id": *\([0-9]*\).*/\1/'); echo "{\"return\": $id}" >&3 ;;
		*fsfreeze-freeze*) fsfreeze --freeze /disk; echo "AGENT froze status=$?" >/dev/console; echo '{"return": 1}' >&3 ;;
		*fsfreeze-thaw*) fsfreeze --unfreeze /disk; echo "AGENT thawed status=$?" >/dev/console; echo '{"return": 1}' >&3 ;;
		*set-user-password*) echo "AGENT set ${line#*username}" >/dev/console; echo '{"return": {}}' >&3 ;;
		*) echo '{"error": {"class": "CommandNotFound", "desc": "no such command"}}' >&3 ;;
		esac
	done
}
serve &
echo "AGENT at $dev" >/dev/console
`

// furnishRich makes the flavors with disks beside the root.
func (s *stage) furnishRich() {
	s.t.Helper()
	for name, size := range map[string][2]int{opsRich: {128, 1}, opsRicher: {160, 2}} {
		s.must(s.Do(s.ctx, s.Nodes[0], cloud.Request{Method: http.MethodPost, Path: "/compute/v2.1/flavors", Body: map[string]any{
			"flavor": map[string]any{"name": name, "ram": size[0], "vcpus": 1, "disk": size[1], "OS-FLV-EXT-DATA:ephemeral": 1, "swap": 64},
		}}, nil, http.StatusOK))
	}
}

// beginRich boots a guest with an agent, whose ephemeral disk and swap space are said in full, as the stock client does.
func (s *stage) beginRich(name string, on *cloud.Node) *life {
	s.t.Helper()
	file := filepath.Join(s.t.TempDir(), "user_data")
	s.must(os.WriteFile(file, []byte(agentScript), 0o600))
	return s.begin(name, on, "--flavor", opsRich, "--ephemeral", "size=1", "--swap", "64", "--user-data", file)
}

// ephemeral finds the guest's ephemeral disk, which its root disk is told from by its place.
func (l *life) ephemeral() (name string) {
	l.t.Helper()
	l.eventually("the guest has an ephemeral disk", actLimit, func() error {
		c, err := l.hear()
		for n, d := range c.Devices {
			if n != "vda" && d.Bytes == 1<<30 {
				name = n
				return nil
			}
		}
		return fmt.Errorf("it has %+v, %v", c.Devices, err)
	})
	return name
}

// The guest has an ephemeral disk with a file system, and swap space.
func (l *life) ownDisks() {
	l.order("mount /dev/" + l.ephemeral() + " /other && echo kept > /other/mark && umount /other")
	swap := l.device("swap space", func(d guest.Device) bool { return d.Bytes == swapBytes })
	l.order("swapon /dev/" + swap + " && swapoff /dev/" + swap)
}

// Its agent sets a password, and holds its file system still for a moment when it is saved.
func (l *life) agent() {
	before := l.told()
	l.waitConsole(l.via, l.ID, `AGENT at /dev/`, actLimit)
	l.eventually("the password is taken", actLimit, func() error { // libvirt has to hear of the agent first
		a, err := l.act("changePassword", map[string]string{"adminPass": "for tests only"})
		if err != nil {
			return err
		}
		return a.Want(http.StatusAccepted)
	})
	l.waitConsole(l.via, l.ID, `AGENT set .*root`, actLimit)
	image := l.imageOf(l.acts("createImage", map[string]string{"name": "held still"}))
	l.imageBecomes(image, "active")
	l.waitConsole(l.via, l.ID, `(?s)AGENT froze status=0.*AGENT thawed status=0`, actLimit)
	l.become("ACTIVE")
	l.goesOn(before)
}

// No other node takes the guest, so it grows where it is, keeps its disks, and is confirmed by itself after a while.
func (l *life) growInPlace() {
	before, on := l.told(), l.Host
	l.openstack(l.via, "compute", "service", "set", "--disable", l.via.Name(), "nova-compute")
	l.acts("resize", map[string]string{"flavorRef": l.flavor(opsRicher)})
	l.become("VERIFY_RESIZE")
	l.beginsAnew(before)
	if l.Host != on {
		l.t.Errorf("it was on %s and is on %s", on, l.Host)
	}
	l.become("ACTIVE")
	l.device("a root disk of 2 GiB", func(d guest.Device) bool { return d.Bytes == 2<<30 })
	if said := l.order("mount /dev/" + l.ephemeral() + " /other && cat /other/mark; umount /other"); said != "kept" {
		l.t.Errorf("its ephemeral disk holds %q", said)
	}
	l.openstack(l.via, "compute", "service", "set", "--enable", l.via.Name(), "nova-compute")
}
