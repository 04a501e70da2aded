package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/kilonova/kilonova/e2e/cloud"
	"github.com/kilonova/kilonova/e2e/guest"
	"github.com/kilonova/kilonova/e2e/lab"
)

const (
	serverName    = "hello"
	activeTimeout = 3 * time.Minute
	bootTimeout   = 2 * time.Minute
	pollEvery     = time.Second
	consoleLines  = 25
)

// tour is one run: it makes a cluster, boots a guest through it, and stays up.
type tour struct {
	nodes    int
	binary   string
	brief    bool
	progress *progress

	cloud *cloud.Cloud
	via   *cloud.Node // a node that does not lead, where there is one
	home  *cloud.Node // the node that runs the server
}

// run does the whole tour. Whatever happens, it removes what it made.
func (t *tour) run(ctx context.Context) (err error) {
	var small guest.Small
	err = t.progress.step("looking for leftovers, and for the guest image", func() error {
		if err := lab.Sweep(); err != nil {
			return err
		}
		var err error
		small, err = guest.BuildSmall(ctx, lab.CacheDir(), nil)
		return err
	})
	if err != nil {
		return err
	}
	defer func() {
		if t.cloud == nil {
			return
		}
		err = errors.Join(err, t.progress.step("removing all hosts, guests and networks", t.cloud.Close))
	}()
	t.cloud, err = cloud.Up(ctx, cloud.Options{Binary: t.binary, Nodes: t.nodes, Step: t.progress.step})
	if err != nil {
		return interrupted(ctx, err)
	}
	if err := t.tell(ctx, small); err != nil {
		return interrupted(ctx, err)
	}
	t.printNext()
	if !t.brief {
		<-ctx.Done()
		t.progress.say("")
	}
	return nil
}

// interrupted calls what a Ctrl-C brought about by its name.
func interrupted(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return errors.New("interrupted")
	}
	return err
}

// tell goes through the stations of the tour.
func (t *tour) tell(ctx context.Context, small guest.Small) error {
	if err := t.showMembers(ctx); err != nil {
		return err
	}
	if err := t.furnish(ctx, small); err != nil {
		return err
	}
	if err := t.createServer(ctx); err != nil {
		return err
	}
	return t.showConsole(ctx)
}

// showMembers lists the nodes and chooses one that does not lead.
func (t *tour) showMembers(ctx context.Context) error {
	leader, err := t.cloud.Leader(ctx)
	if err != nil {
		return err
	}
	if t.via, err = t.cloud.Follower(ctx); err != nil {
		t.via = leader // A cluster of one.
	}
	members, err := t.cloud.Members(ctx, t.via)
	if err != nil {
		return err
	}
	for _, m := range members {
		t.progress.quote(fmt.Sprintf("%-8s %-14s %-5s %-10s %s", m.Name, m.Address, m.State, m.Raft, m.Status))
	}
	return nil
}

// furnish makes what a server needs: an image, a flavor, and a network on the hosts' bridges.
func (t *tour) furnish(ctx context.Context, small guest.Small) error {
	subnet, machine := t.cloud.Lab.GuestNetwork()
	base := strings.TrimSuffix(subnet, "0/24")
	for _, args := range [][]string{
		{"image", "create", "--public", "--disk-format", "qcow2", "--container-format", "bare", "--file", small.DiskQcow2, "tiny"},
		{"flavor", "create", "--ram", "128", "--vcpus", "1", "--disk", "1", "tiny"},
		{"network", "create", "--share", "--provider-network-type", "flat",
			"--provider-physical-network", cloud.ProviderNetwork, "lan"},
		{"subnet", "create", "--network", "lan", "--subnet-range", subnet, "--gateway", machine, "--no-dhcp",
			"--allocation-pool", fmt.Sprintf("start=%s10,end=%s250", base, base), "lan"},
	} {
		if _, err := t.openstack(ctx, args...); err != nil {
			return err
		}
	}
	return nil
}

// createServer creates the server through the chosen node, and shows its states until it is active.
func (t *tour) createServer(ctx context.Context) error {
	t.progress.say("%s does not lead: the request goes to it", t.via.Name())
	if _, err := t.openstack(ctx, "server", "create", "--image", "tiny", "--flavor", "tiny", "--network", "lan", serverName); err != nil {
		return err
	}
	began := time.Now()
	err := t.progress.step("the server becomes ACTIVE", func() error {
		return t.waitStatus(ctx, "ACTIVE")
	})
	if err != nil {
		return err
	}
	shown, err := t.cloud.OpenStack(ctx, t.via, "server", "show", serverName, "-f", "value",
		"-c", "id", "-c", "status", "-c", "OS-EXT-SRV-ATTR:host", "-c", "addresses")
	if err != nil {
		return err
	}
	t.progress.say("after %.1f s, openstack server show:", time.Since(began).Seconds())
	t.progress.quote(shown)
	for _, n := range t.cloud.Nodes {
		if slices.Contains(strings.Fields(shown), n.Name()) {
			t.home = n
			return nil
		}
	}
	return fmt.Errorf("find the node of the server: none of ours is in %q", shown)
}

// waitStatus polls the server until it has the wanted status.
func (t *tour) waitStatus(ctx context.Context, want string) error {
	ctx, cancel := context.WithTimeout(ctx, activeTimeout)
	defer cancel()
	for last := ""; ; {
		out, err := t.cloud.OpenStack(ctx, t.via, "server", "show", serverName, "-f", "value", "-c", "status")
		if err != nil {
			return err
		}
		status := strings.TrimSpace(out)
		if status != last {
			t.progress.say("    %s", status)
			last = status
		}
		switch status {
		case want:
			return nil
		case "ERROR":
			why, err := t.cloud.OpenStack(ctx, t.via, "server", "show", serverName, "-f", "value", "-c", "fault")
			return errors.Join(fmt.Errorf("server %s is in ERROR: %s", serverName, strings.TrimSpace(why)), err)
		}
		if err := pause(ctx, pollEvery); err != nil {
			return fmt.Errorf("wait for server %s to become %s: %w (it is %s)", serverName, want, err, status)
		}
	}
}

// showConsole waits until the guest says that it is ready, and prints the end of what it said.
func (t *tour) showConsole(ctx context.Context) error {
	var console string
	err := t.progress.step("the guest boots", func() error {
		ctx, cancel := context.WithTimeout(ctx, bootTimeout)
		defer cancel()
		for {
			var err error
			console, err = t.cloud.OpenStack(ctx, t.via, "console", "log", "show", serverName)
			if err != nil {
				return err
			}
			if strings.Contains(console, "KILONOVA-GUEST READY") {
				return nil
			}
			if err := pause(ctx, pollEvery); err != nil {
				return fmt.Errorf("wait for the guest: %w; its console:\n%s", err, console)
			}
		}
	})
	if err != nil {
		return err
	}
	lines := strings.Split(strings.TrimSpace(console), "\n")
	t.progress.say("its console (openstack console log show %s), the last %d lines:", serverName, consoleLines)
	t.progress.quote(strings.Join(lines[max(0, len(lines)-consoleLines):], "\n"))
	return t.pingGuest(ctx, console)
}

// pingGuest sends one ping from the machine to the address that the guest says it has.
func (t *tour) pingGuest(ctx context.Context, console string) error {
	_, rest, _ := strings.Cut(console, "KILONOVA-GUEST READY ")
	line, _, _ := strings.Cut(rest, "\n")
	_, ip, _ := strings.Cut(strings.TrimSpace(line), "ip=")
	if ip == "" {
		return fmt.Errorf("find the guest's address: its console says %q", line)
	}
	return t.progress.step("the machine pings the guest at "+ip, func() error {
		out, err := exec.CommandContext(ctx, "busybox", "ping", "-c", "1", "-W", "5", ip).CombinedOutput()
		if err != nil {
			return fmt.Errorf("ping %s: %w: %s", ip, err, out)
		}
		return nil
	})
}

// openstack runs the client as one step.
func (t *tour) openstack(ctx context.Context, args ...string) (out string, err error) {
	shown := strings.Join(args, " ")
	err = t.progress.step("openstack "+shown, func() error {
		out, err = t.cloud.OpenStack(ctx, t.via, args...)
		return err
	})
	return out, err
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// printNext says what to type in another terminal.
func (t *tour) printNext() {
	binary, err := filepath.Abs(t.binary)
	if err != nil {
		binary = t.binary
	}
	t.progress.say(`
The cluster is up. In another terminal:

  export OS_CLIENT_CONFIG_FILE=%s OS_CLOUD=%s
  openstack hypervisor list
  openstack server create --image tiny --flavor tiny --network lan --wait web-1
  openstack console log show web-1
  openstack server list --long
  openstack --os-auth-url %s/identity/v3 server list      # any node answers

Inside %s, which runs the server (its own processes, network and libvirt):

  nsenter -a -t %d %s node list --data-dir %s
  nsenter -a -t %d virsh list

Logs of the hosts: %s/host*/log`,
		t.cloud.CloudsFile(), cloud.CloudName, t.via.URL(), t.home.Name(), t.home.Host.PID(), binary, t.home.Host.DataDir(),
		t.home.Host.PID(), t.cloud.Lab.Dir())
	if !t.brief {
		t.progress.say("\nCtrl-C removes everything.")
	}
}
