package libvirt

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/kilonova/kilonova/e2e/guest"
	"github.com/kilonova/kilonova/e2e/lab"
	"github.com/kilonova/kilonova/virt"
)

// agentScript is a guest agent for the small guest, as far as it is needed: it answers line by line in the protocol of
// QEMU's (docs/interop/qemu-ga-ref), and says on the console what it was told. A read of the port ends at once as long as
// nobody listens at its other end, which libvirt does only after the port was opened here.
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
		*fsfreeze-freeze*) echo "AGENT froze" >/dev/console; echo '{"return": 1}' >&3 ;;
		*fsfreeze-thaw*) echo "AGENT thawed" >/dev/console; echo '{"return": 1}' >&3 ;;
		*set-user-password*) echo "AGENT set ${line#*username}" >/dev/console; echo '{"return": {}}' >&3 ;;
		*) echo '{"error": {"class": "CommandNotFound", "desc": "no such command"}}' >&3 ;;
		esac
	done
}
serve &
echo "AGENT at $dev" >/dev/console
`

// A guest with an agent is asked to hold still for a capture and goes on after it, and gets a password.
func TestQEMU_AgentFreezesThawsAndSetsPasswords(t *testing.T) {
	needQEMU(t)
	small, err := guest.BuildSmall(t.Context(), lab.CacheDir(), nil)
	if err != nil {
		t.Skipf("the small guest cannot be built here: %v", err)
	}
	b := newBench(t, func(g *virt.Guest) {
		g.MemoryMiB = 128
		g.Root = virt.RootDisk{Base: small.RootDisk, BaseFormat: "raw"}
		g.Kernel = virt.Kernel{Path: small.Kernel, Ramdisk: small.Ramdisk, Cmdline: guest.CommandLine}
		g.ConfigDrive = map[string][]byte{"openstack/latest/meta_data.json": []byte("{}"), "openstack/latest/user_data": []byte(agentScript)}
	})
	b.must("start", b.driver.Start(b.ctx, b.id))
	t.Cleanup(func() { t.Log(b.console()[max(0, len(b.console())-1500):]) })
	b.eventually("the agent listens", func() bool {
		v, err := b.driver.look(b.ctx, b.dom(), 0)
		return err == nil && v.agent() && strings.Contains(b.console(), "AGENT at /dev/")
	})
	path := filepath.Join(b.config.DataDir, "capture")
	b.must("capture quietly", b.driver.Capture(b.ctx, b.id, virt.DiskRoot, path, true, nil))
	b.eventually("it was frozen and thawed", func() bool {
		text := b.console()
		froze, thawed := strings.Index(text, "AGENT froze"), strings.Index(text, "AGENT thawed")
		return froze >= 0 && thawed > froze
	})
	b.must("set password", b.driver.SetPassword(b.ctx, b.id, "root", "secret"))
	b.eventually("it was set", func() bool { return strings.Contains(b.console(), "AGENT set") })
}
