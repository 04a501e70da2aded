package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/kilonova/kilonova/e2e/cloud"
	"github.com/kilonova/kilonova/e2e/guest"
	"github.com/kilonova/kilonova/e2e/lab"
)

const (
	bootLimit   = 4 * time.Minute
	activeLimit = 2 * time.Minute
)

// Three machines become a cluster, and guests live in it: they boot, talk to each other, may not lie about who they are,
// and outlive the daemons and the power of their hosts.
func TestGuests(t *testing.T) {
	needHosts(t)
	s := newStage(t, cloud.Options{Nodes: 3})
	g := &guests{small: buildSmall(t)}
	s.furnish(g)
	s.run("each of the three APIs boots one", g.bootThroughEachAPI)
	s.run("two on two nodes reach each other", g.pingAcrossNodes)
	s.run("one that lies about its addresses is not heard", g.spoof)
	s.run("the daemon is killed and they never stop", g.killDaemons)
	s.run("libvirtd is killed and they never stop", g.killLibvirt)
	s.run("all hosts lose power and come back in another order", g.cutPower)
	s.run("a deleted one leaves nothing", g.deleteAll)
}

// guests is what the parts of the story hand on.
type guests struct {
	small   guest.Small
	subnet  string   // of the guest network, such as "10.78.0."
	machine string   // the machine's address in it
	booted  []server // through each API, on their nodes
	stopped server
}

func buildSmall(t *testing.T) guest.Small {
	t.Helper()
	needHosts(t) // what makes guests is root's, too
	small, err := guest.BuildSmall(t.Context(), lab.CacheDir(), func(step string) { t.Log(step) })
	if err != nil {
		t.Fatal(err)
	}
	return small
}

// furnish makes images of both kinds, a flavor and a network, with the stock client, through all nodes in turn.
func (s *stage) furnish(g *guests) {
	s.t.Helper()
	cidr, machine := s.Lab.GuestNetwork()
	g.subnet, g.machine = strings.TrimSuffix(cidr, "0/24"), machine
	image := func(via int, name, disk, container, file string, properties ...string) string {
		args := []string{"image", "create", "--public", "--disk-format", disk, "--container-format", container,
			"--file", file, "-f", "value", "-c", "id", name}
		for _, p := range properties {
			args = append(args, "--property", p)
		}
		return strings.TrimSpace(s.openstack(s.Nodes[via], args...))
	}
	image(0, "qcow2", "qcow2", "bare", g.small.DiskQcow2)
	image(1, "raw", "raw", "bare", g.small.DiskRaw)
	kernel := image(2, "kernel", "aki", "aki", g.small.Kernel)
	ramdisk := image(0, "ramdisk", "ari", "ari", g.small.Ramdisk)
	image(1, "parts", "ami", "ami", g.small.RootDisk, "kernel_id="+kernel, "ramdisk_id="+ramdisk, "os_command_line="+guest.CommandLine)
	s.openstack(s.Nodes[0], "flavor", "create", "--ram", "128", "--vcpus", "1", "--disk", "1", "tiny")
	s.openstack(s.Nodes[1], "network", "create", "--share", "--provider-network-type", "flat",
		"--provider-physical-network", cloud.ProviderNetwork, "lan")
	s.openstack(s.Nodes[2], "subnet", "create", "--network", "lan", "--subnet-range", cidr, "--gateway", machine, "--no-dhcp",
		"--allocation-pool", "start="+g.subnet+"10,end="+g.subnet+"250", "lan")
}

var anyUUID = regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`)

// boot creates a server with the stock client, through a node, and returns it as it is once it is ACTIVE.
func (s *stage) boot(via *cloud.Node, image, name string, more ...string) server {
	s.t.Helper()
	args := append([]string{"server", "create", "--image", image, "--flavor", "tiny", "--wait", "-f", "value", "-c", "id"}, more...)
	if !strings.Contains(strings.Join(more, " "), "--nic") {
		args = append(args, "--network", "lan")
	}
	out := s.openstack(via, append(args, name)...)
	id := anyUUID.FindString(out)
	if id == "" { // The client ends with status 0 all the same.
		list, err := s.servers(via)
		s.t.Fatalf("server create %s says %q; the servers: %+v, %v", name, out, list, err)
	}
	now, err := s.show(via, id)
	s.must(err)
	if now.Status != "ACTIVE" {
		s.t.Fatalf("server %s is %s after --wait", name, now.Status)
	}
	return now
}

// console reads what a guest wrote, through a node.
func (s *stage) console(via *cloud.Node, id string) (string, error) {
	var answer struct{ Output string }
	err := s.Do(s.ctx, via, cloud.Request{
		Method: http.MethodPost, Path: "/compute/v2.1/servers/" + id + "/action", Body: map[string]any{"os-getConsoleOutput": map[string]any{}},
	}, &answer, http.StatusOK)
	return answer.Output, err
}

// waitConsole waits until a guest has written something that matches.
func (s *stage) waitConsole(via *cloud.Node, id, pattern string, limit time.Duration) string {
	s.t.Helper()
	wanted := regexp.MustCompile(pattern)
	var text string
	s.eventually(fmt.Sprintf("guest %s says %q", id, pattern), limit, func() (err error) {
		if text, err = s.console(via, id); err != nil {
			return err
		}
		if !wanted.MatchString(text) {
			return fmt.Errorf("the end of its console: %s", text[max(0, len(text)-1500):])
		}
		return nil
	})
	return text
}

// counted returns how far a guest has counted, and how often it booted.
func counted(console string) (count, boots int) {
	for _, m := range regexp.MustCompile(`(?m)^count (\d+) `).FindAllStringSubmatch(console, -1) {
		count, _ = strconv.Atoi(m[1])
	}
	for _, m := range regexp.MustCompile(`KILONOVA-GUEST BOOT boot=(\d+)`).FindAllStringSubmatch(console, -1) {
		boots, _ = strconv.Atoi(m[1])
	}
	return count, boots
}

// qemus returns the QEMU of each of the servers, and fails unless each has exactly one in the whole lab.
func (s *stage) qemus(of []server) map[string]lab.QEMU {
	s.t.Helper()
	all, err := s.Lab.QEMUs()
	s.must(err)
	found := map[string]lab.QEMU{}
	for _, q := range all {
		if other, twice := found[q.UUID]; twice {
			s.t.Fatalf("server %s runs twice: on %s and on %s", q.UUID, other.Host, q.Host)
		}
		found[q.UUID] = q
	}
	for _, v := range of {
		if q, ok := found[v.ID]; !ok || q.Host != v.Host {
			s.t.Fatalf("server %s (%s) should run on %s; its QEMU: %+v", v.ID, v.Name, v.Host, q)
		}
	}
	return found
}

func (s *stage) node(name string) *cloud.Node {
	s.t.Helper()
	for _, n := range s.Nodes {
		if n.Name() == name {
			return n
		}
	}
	s.t.Fatalf("there is no node %q", name)
	return nil
}

// other is a node other than the named one.
func (s *stage) other(name string) *cloud.Node {
	for _, n := range s.Nodes {
		if n.Name() != name {
			return n
		}
	}
	return nil
}

// A server is asked for at each of the three nodes, with each kind of image. Each guest boots to its greeting and knows the
// name and the address that the API gives; any node shows its console; and the three are spread over the three nodes.
func (g *guests) bootThroughEachAPI(s *stage) {
	on := map[string]bool{}
	for i, image := range []string{"qcow2", "parts", "raw"} {
		v := s.boot(s.Nodes[i], image, "guest-"+image)
		g.booted = append(g.booted, v)
		on[v.Host] = true
	}
	for i, v := range g.booted {
		elsewhere := s.Nodes[(i+1)%len(s.Nodes)]
		text := s.waitConsole(elsewhere, v.ID, `READY uuid=`+v.ID+` ip=`+regexp.QuoteMeta(v.ip()), bootLimit)
		if want := "META uuid=" + v.ID + " name=" + v.Name; !strings.Contains(text, want) {
			s.t.Errorf("the console of %s lacks %q", v.Name, want)
		}
	}
	if len(on) != len(s.Nodes) {
		s.t.Errorf("three servers are on %d nodes: %v", len(on), on)
	}
	s.qemus(g.booted)
}

// bootWithScript boots a guest that runs a script first.
func (s *stage) bootWithScript(via *cloud.Node, name, script string, more ...string) server {
	s.t.Helper()
	file := filepath.Join(s.t.TempDir(), "user_data")
	s.must(os.WriteFile(file, []byte("#!/bin/sh\n"+script), 0o600))
	return s.boot(via, "qcow2", name, append([]string{"--user-data", file}, more...)...)
}

// A guest whose user data pings a guest on another node prints the answer.
func (g *guests) pingAcrossNodes(s *stage) {
	target := g.booted[0]
	node := s.other(target.Host)
	v := s.bootWithScript(node, "pinger", "ping -c 3 -w 20 "+target.ip()+"\n", "--availability-zone", "nova:"+node.Name())
	if v.Host != node.Name() {
		s.t.Fatalf("the pinger is on %s, asked for %s", v.Host, node.Name())
	}
	s.waitConsole(node, v.ID, `(?s)USERDATA begin.*[1-9] packets received.*USERDATA end status=0`, bootLimit)
	s.openstack(node, "server", "delete", "--wait", v.ID)
}

// A guest that is asked to stop stays off for the rest of the story; the others run.
func (g *guests) running() []server {
	var on []server
	for _, v := range g.booted {
		if v.ID != g.stopped.ID {
			on = append(on, v)
		}
	}
	return on
}

// unharmed checks that guests run on in the same QEMU and counted on, without a second boot.
func (s *stage) unharmed(of []server, before map[string]lab.QEMU, counts map[string]int) {
	s.t.Helper()
	now := s.qemus(of)
	for _, v := range of {
		if now[v.ID].PID != before[v.ID].PID {
			s.t.Errorf("%s was QEMU %d and is QEMU %d: it was stopped", v.Name, before[v.ID].PID, now[v.ID].PID)
		}
		s.eventually(v.Name+" goes on counting", activeLimit, func() error {
			text, err := s.console(s.node(v.Host), v.ID)
			if err != nil {
				return err
			}
			if count, boots := counted(text); boots != 1 || count <= counts[v.ID]+1 {
				return fmt.Errorf("it booted %d times and counted to %d, after %d before", boots, count, counts[v.ID])
			}
			return nil
		})
		s.waitStatus(s.other(v.Host), v.ID, "ACTIVE", activeLimit)
	}
}

// counts reads how far the guests have counted.
func (s *stage) counts(of []server) map[string]int {
	s.t.Helper()
	counts := map[string]int{}
	for _, v := range of {
		text, err := s.console(s.node(v.Host), v.ID)
		s.must(err)
		counts[v.ID], _ = counted(text)
	}
	return counts
}

// All three daemons are killed at once, and started again a while later. The guests have not noticed: the same QEMUs count on.
func (g *guests) killDaemons(s *stage) {
	before, counts := s.qemus(g.booted), s.counts(g.booted)
	for _, n := range s.Nodes {
		s.must(n.Daemon.Kill())
	}
	time.Sleep(2 * time.Second)
	s.qemus(g.booted)
	for _, n := range s.Nodes {
		s.must(n.StartDaemon())
	}
	for _, n := range s.Nodes {
		s.must(n.WaitReady(s.ctx))
	}
	s.must(s.WaitEnabled(s.ctx))
	s.unharmed(g.booted, before, counts)
}

// The libvirtd of a guest's host is killed. The cluster says that the node takes no guests, and why; when libvirtd is back, the
// node is, too, and its guest, which has not noticed, is looked after as before: it can be asked to stop.
func (g *guests) killLibvirt(s *stage) {
	v := g.booted[1]
	node := s.node(v.Host)
	before, counts := s.qemus(g.booted), s.counts(g.booted)
	s.must(node.Libvirt.Kill())
	s.eventually("the cluster notices that libvirt is gone", activeLimit, func() error {
		return s.hasStatus(node, "not ready", "libvirt")
	})
	s.qemus(g.booted)
	s.must(node.StartLibvirt(s.ctx))
	s.must(s.WaitEnabled(s.ctx))
	s.unharmed(g.booted, before, counts)

	s.openstack(s.other(v.Host), "server", "stop", v.ID)
	g.stopped = s.waitStatus(s.other(v.Host), v.ID, "SHUTOFF", activeLimit)
	if text, err := s.console(node, v.ID); err != nil || !strings.Contains(text, "KILONOVA-GUEST POWEROFF") {
		s.t.Errorf("the guest was not asked to power off: %v", err)
	}
}

// hasStatus compares a node's status in the list of nodes, and looks for a word in its reason.
func (s *stage) hasStatus(n *cloud.Node, status, why string) error {
	members, err := s.Members(s.ctx, s.other(n.Name()))
	if err != nil {
		return err
	}
	for _, m := range members {
		if m.Name == n.Name() {
			if m.Status == status && strings.Contains(m.Why, why) {
				return nil
			}
			return fmt.Errorf("%s is %s (%s)", m.Name, m.Status, m.Why)
		}
	}
	return fmt.Errorf("%s is not listed", n.Name())
}

// All three hosts lose power at once, and come back one by one in another order. The cluster lists what it listed before; what
// should run runs again from its own disk, with all that it had written there; what was stopped stays off.
func (g *guests) cutPower(s *stage) {
	counts := s.counts(g.running())
	want, err := s.servers(s.Nodes[0])
	s.must(err)
	for _, n := range s.Nodes {
		s.must(n.Host.PowerCut())
	}
	for _, i := range []int{2, 0, 1} {
		s.must(s.Nodes[i].PowerOn(s.ctx))
		time.Sleep(time.Second)
	}
	s.must(s.WaitEnabled(s.ctx))
	for _, v := range g.running() {
		text := s.waitConsole(s.other(v.Host), v.ID, `BOOT boot=2 count=(?s:.*)READY uuid=`+v.ID, bootLimit)
		found := regexp.MustCompile(`BOOT boot=2 count=(\d+)`).FindStringSubmatch(text)
		if count, _ := strconv.Atoi(found[1]); count < counts[v.ID] {
			s.t.Errorf("%s had counted to %d on its disk, and found %d after the power cut", v.Name, counts[v.ID], count)
		}
	}
	s.qemus(g.running())
	for _, n := range s.Nodes {
		s.eventually(n.Name()+" lists what was there before", activeLimit, func() error {
			now, err := s.servers(n)
			if err != nil {
				return err
			}
			return sameList(now, want)
		})
	}
}

// sameList compares servers as two lists give them.
func sameList(now, want []server) error {
	if len(now) != len(want) {
		return fmt.Errorf("%d servers are listed, want %d", len(now), len(want))
	}
	for i := range want {
		if got, w := fmt.Sprintf("%+v", now[i]), fmt.Sprintf("%+v", want[i]); got != w {
			return fmt.Errorf("listed is %s, want %s", got, w)
		}
	}
	return nil
}

// All guests are deleted, one through each node. Soon no QEMU, no domain and no disk of theirs is left on any host, also not
// after all daemons were started again.
func (g *guests) deleteAll(s *stage) {
	for i, v := range g.booted {
		s.openstack(s.Nodes[i], "server", "delete", "--wait", v.ID)
	}
	for _, n := range s.Nodes {
		s.must(n.Daemon.Kill())
		s.must(n.Start(s.ctx))
	}
	for _, n := range s.Nodes {
		s.eventually("nothing is left on "+n.Name(), activeLimit, func() error { return s.nothingLeft(n) })
	}
}

// nothingLeft looks for guests and their disks on a host.
func (s *stage) nothingLeft(n *cloud.Node) error {
	if list, err := s.servers(n); err != nil || len(list) > 0 {
		return fmt.Errorf("servers are listed: %+v, %v", list, err)
	}
	if q, err := n.Host.QEMUs(); err != nil || len(q) > 0 {
		return fmt.Errorf("QEMUs run: %+v, %v", q, err)
	}
	domains, err := n.Host.Run(s.ctx, "virsh", "list", "--all", "--name")
	if err != nil || strings.TrimSpace(domains) != "" {
		return fmt.Errorf("libvirt has domains: %q, %v", domains, err)
	}
	dir, err := n.Host.Path(filepath.Join(n.Host.DataDir(), "instances"))
	if err != nil {
		return err
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		return fmt.Errorf("disks are left: %v, %v", left, err)
	}
	return nil
}
