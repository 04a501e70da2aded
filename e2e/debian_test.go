package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/kilonova/kilonova/e2e/cloud"
	"github.com/kilonova/kilonova/e2e/guest"
	"github.com/kilonova/kilonova/e2e/lab"
)

// debianBootLimit is for a whole Debian under emulation, beside other work.
const debianBootLimit = 8 * time.Minute

// What the stock Debian is given, and the words by which it shows that it has found it.
const debianScript = `#!/bin/sh
echo "STORY host $(hostname) $(hostname -I)"
echo "STORY key $(cat /home/debian/.ssh/authorized_keys)"
echo "STORY root $(df -m --output=size / | tail -n 1) MiB"
`

// A stock Debian 12 boots from its own disk image. Its cloud-init finds the config drive by itself: name, address, key and user data are those
// of the API, and the root file system has grown to the size of the flavor's disk.
func TestDebian_CloudInitFindsItsData(t *testing.T) {
	needHosts(t)
	image, err := guest.BuildDebian(t.Context(), lab.CacheDir(), func(step string) { t.Log(step) })
	if err != nil {
		t.Fatal(err)
	}
	s := newStage(t, cloud.Options{Nodes: 1})
	node := s.Nodes[0]
	dir := t.TempDir()
	script, key := filepath.Join(dir, "script"), filepath.Join(dir, "key.pub")
	s.must(os.WriteFile(script, []byte(debianScript), 0o600))
	s.must(os.WriteFile(key, []byte(publicKey), 0o600))
	cidr, machine := s.Lab.GuestNetwork()
	for _, args := range []string{
		"image create --disk-format qcow2 --container-format bare --file " + image + " debian-12",
		"flavor create --ram 640 --vcpus 1 --disk 4 small",
		"keypair create --public-key " + key + " me",
		"network create --provider-network-type flat --provider-physical-network " + cloud.ProviderNetwork + " lan",
		"subnet create --network lan --no-dhcp --subnet-range " + cidr + " --gateway " + machine + " lan",
	} {
		s.openstack(node, strings.Fields(args)...)
	}
	out := s.openstack(node, "server", "create", "--image", "debian-12", "--flavor", "small", "--network", "lan", "--key-name", "me",
		"--user-data", script, "--wait", "-f", "value", "-c", "id", "web-1")
	v, err := s.show(node, anyUUID.FindString(out))
	s.must(err)

	console := s.waitConsole(node, v.ID, `Cloud-init v\. \S+ finished`, debianBootLimit)
	for _, want := range []string{
		`DataSourceConfigDrive`, `STORY host web-1 ` + regexp.QuoteMeta(v.ip()), `STORY key ` + regexp.QuoteMeta(strings.TrimSpace(publicKey)),
		`STORY root +3[5-9]\d\d MiB`,
	} {
		if !regexp.MustCompile(want).MatchString(console) {
			t.Errorf("the console lacks %q", want)
		}
	}
	if t.Failed() {
		t.Log(console)
	}
	if out, err := runHere(s.ctx, "busybox", "ping", "-c", "3", "-w", "20", v.ip()); err != nil {
		t.Errorf("ping %s: %v: %s", v.ip(), err, out)
	}
}
