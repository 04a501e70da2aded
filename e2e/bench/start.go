package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/kilonova/kilonova/e2e/cloud"
	"github.com/kilonova/kilonova/e2e/guest"
	"github.com/kilonova/kilonova/e2e/lab"
)

const (
	maxStartMillis = 50

	bootTimeout = 3 * time.Minute
	statePoll   = 200 * time.Millisecond

	// toldToStart is what a node logs right before it calls libvirt to start a domain.
	toldToStart = `msg="tell the hypervisor to start"`
	// logTime is how it writes the time.
	logTime = "2006-01-02T15:04:05.000Z07:00"
)

// play makes hosts with real libvirts and a cluster on them for one group of figures. Flags are more flags of the nodes.
func (b *bench) play(ctx context.Context, nodes int, flags []string, act func(*theater) error) (err error) {
	b.close() // its nodes would only take processor time
	if os.Geteuid() != 0 {
		b.note("left out: hosts with libvirt of their own need root")
		return nil
	}
	small, err := guest.BuildSmall(ctx, lab.CacheDir(), nil)
	if err != nil {
		return err
	}
	c, err := cloud.Up(ctx, cloud.Options{Binary: b.binary, Nodes: nodes, Flags: append([]string{"--log-level", "debug"}, flags...)})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	theater, err := newTheater(ctx, c, small)
	if err != nil {
		return err
	}
	defer theater.admin.close()
	if err = act(theater); err != nil {
		err = errors.Join(err, theater.lastWords())
	}
	return err
}

// lastWords are the last complaints in the nodes' logs.
func (t *theater) lastWords() error {
	const most = 5
	var words strings.Builder
	for _, n := range t.cloud.Nodes {
		log, err := n.Daemon.Log()
		if err != nil {
			return err
		}
		lines := slices.DeleteFunc(strings.Split(log, "\n"), func(l string) bool { return !strings.Contains(l, "level=WARN") && !strings.Contains(l, "level=ERROR") })
		for _, l := range lines[max(0, len(lines)-most):] {
			fmt.Fprintf(&words, "\n  %s: %s", n.Name(), l)
		}
	}
	return fmt.Errorf("the nodes complained:%s", words.String())
}

// measureStart creates servers on hosts with real libvirts, one after the other, and reads in the nodes' logs when libvirt was called. On
// each node the image is there before: a first server on it is not counted.
func measureStart(ctx context.Context, b *bench) error {
	return b.play(ctx, townSize, nil, func(t *theater) error { return b.start(ctx, t) })
}

func (b *bench) start(ctx context.Context, theater *theater) error {
	w, err := startWatch(b.dir, nil)
	if err != nil {
		return err
	}
	var called, active []float64
	for len(called) < b.runs {
		first, second, known, err := theater.play(ctx)
		if err != nil {
			return err
		}
		if known {
			called, active = append(called, millis(first)), append(active, second.Seconds())
		}
	}
	during := w.stop()
	b.add(
		figure{Name: "request to the libvirt call that starts the domain", Unit: "ms", Values: called, Limit: maxStartMillis, During: during},
		figure{Name: "request to ACTIVE, with QEMU without KVM", Unit: "s", Values: active, During: during},
	)
	return nil
}

// theater is a cluster with real domains, and what they are made of.
type theater struct {
	cloud *cloud.Cloud
	admin *client
	scene *scene
	seen  map[string]bool // hosts that have had a server
}

func newTheater(ctx context.Context, c *cloud.Cloud, small guest.Small) (*theater, error) {
	clouds, err := os.ReadFile(c.CloudsFile())
	if err != nil {
		return nil, err
	}
	admin, err := newClient(clouds, c.Nodes[0].URL())
	if err != nil {
		return nil, err
	}
	if err := admin.logIn(ctx, ""); err != nil {
		return nil, err
	}
	disk, err := os.ReadFile(small.DiskQcow2)
	if err != nil {
		return nil, err
	}
	cidr, _ := c.Lab.GuestNetwork()
	s, err := setScene(ctx, admin, map[string]any{"disk_format": "qcow2", "hw_cdrom_bus": "scsi"}, disk,
		map[string]any{"ip_version": 4, "cidr": cidr, "enable_dhcp": false})
	return &theater{cloud: c, admin: admin, scene: s, seen: map[string]bool{}}, err
}

// play creates a server and deletes it when it is active. It says how long it took until libvirt was called and until the server was
// active, and whether its node had had a server before.
func (t *theater) play(ctx context.Context) (called, active time.Duration, known bool, err error) {
	var made struct{ Server struct{ ID string } }
	start := time.Now()
	if err := t.admin.post(ctx, "/compute/v2.1/servers", t.scene.server("bench", 1), &made); err != nil {
		return 0, 0, false, err
	}
	id := made.Server.ID
	host, err := t.waitActive(ctx, id)
	if err != nil {
		return 0, 0, false, err
	}
	active = time.Since(start)
	at, err := t.calledAt(host, id)
	if err != nil {
		return 0, 0, false, err
	}
	known = t.seen[host]
	t.seen[host] = true
	return at.Sub(start), active, known, t.remove(ctx, id)
}

// waitActive waits until a server runs, and gives the name of its host.
func (t *theater) waitActive(ctx context.Context, id string) (host string, err error) {
	ctx, cancel := context.WithTimeout(ctx, bootTimeout)
	defer cancel()
	for {
		var shown struct {
			Server struct {
				Status string
				Host   string `json:"OS-EXT-SRV-ATTR:host"`
				Fault  struct{ Message string }
			}
		}
		if err := t.admin.get(ctx, "/compute/v2.1/servers/"+id, &shown); err != nil {
			return "", err
		}
		switch shown.Server.Status {
		case "ACTIVE":
			return shown.Server.Host, nil
		case "ERROR":
			return "", fmt.Errorf("server %s: %s", id, shown.Server.Fault.Message)
		}
		if err := sleep(ctx, statePoll); err != nil {
			return "", fmt.Errorf("wait until server %s is active: %w", id, err)
		}
	}
}

// remove deletes a server and waits until it is gone.
func (t *theater) remove(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, bootTimeout)
	defer cancel()
	if _, err := t.admin.send(ctx, http.MethodDelete, "/compute/v2.1/servers/"+id, nil, nil); err != nil {
		return err
	}
	for {
		var listed struct{ Servers []struct{ ID string } }
		if err := t.admin.get(ctx, "/compute/v2.1/servers", &listed); err != nil {
			return err
		}
		if len(listed.Servers) == 0 {
			return nil
		}
		if err := sleep(ctx, statePoll); err != nil {
			return fmt.Errorf("wait until server %s is gone: %w", id, err)
		}
	}
}

// calledAt finds in a host's log when libvirt was called for a server.
func (t *theater) calledAt(host, id string) (time.Time, error) {
	for _, n := range t.cloud.Nodes {
		if n.Name() != host {
			continue
		}
		log, err := n.Daemon.Log()
		if err != nil {
			return time.Time{}, err
		}
		return timeOfStart(log, id)
	}
	return time.Time{}, fmt.Errorf("there is no host %s", host)
}

// timeOfStart finds in a node's log when it called libvirt for a server.
func timeOfStart(log, id string) (time.Time, error) {
	for line := range strings.Lines(log) {
		if !strings.Contains(line, toldToStart) || !strings.Contains(line, "instance="+id) {
			continue
		}
		stamp, _, _ := strings.Cut(strings.TrimPrefix(line, "time="), " ")
		at, err := time.Parse(logTime, stamp)
		if err != nil {
			return at, fmt.Errorf("read the time of %q: %w", line, err)
		}
		return at, nil
	}
	return time.Time{}, fmt.Errorf("the log does not say when the hypervisor was told to start server %s", id)
}
