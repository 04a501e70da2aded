package e2e

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kilonova/kilonova/e2e/cloud"
)

// The disk of the host that leads fills up. Before a write fails another one leads, and the operator is told, who makes room; then the host takes guests
// again. Another disk fills up to the last byte: its node ends, and says why. The others go on, and it comes back when there is room.
func TestDisk_NearlyFullAndFull(t *testing.T) {
	t.Parallel()
	s := newSimStage(t, 3)
	p := s.supply(s.Nodes[0])
	ids := map[string]string{}
	create := func(via *cloud.Node) {
		name := fmt.Sprintf("server-%d", len(ids))
		ids[s.create(via, p.createRequest(name))] = name
	}
	create(s.Nodes[0])
	led := s.leader()
	s.fills(led, 40)
	s.eventually("another one leads", memberLimit, func() error {
		now, err := s.Leader(s.ctx)
		if err == nil && now == led {
			err = fmt.Errorf("%s leads", now.Name())
		}
		return err
	})
	const words = "is nearly full"
	s.eventually("the operator is told", memberLimit, func() error {
		check := s.kilonova(led, "cluster", "check")
		if show := s.kilonova(led, "node", "show", led.Name()); !strings.Contains(show, words) || !strings.Contains(check, words) {
			return fmt.Errorf("show says %s, and check %s", show, check)
		}
		return nil
	})
	for range 4 {
		create(led)
	}
	for _, n := range s.Nodes {
		s.eventually("every server runs, says "+n.Name(), memberLimit, func() error { return s.sameServers(n, ids) })
	}
	s.makesRoom(led)
	s.eventually("nothing is wrong any more", memberLimit, func() error {
		if check := s.kilonova(led, "cluster", "check"); strings.Contains(check, words) {
			return fmt.Errorf("check says %s", check)
		}
		return nil
	})

	full := s.follower()
	s.fills(full, 0)
	s.eventually("the node notices", memberLimit, func() error {
		create(s.other(full.Name()))
		select {
		case <-full.Daemon.Done():
			return nil
		default:
			return fmt.Errorf("it runs with a full disk")
		}
	})
	s.ends(full, "no space left on device")
	s.makesRoom(full)
	s.must(full.Start(s.ctx))
	s.eventually("every server runs, says the one that was full", memberLimit, func() error { return s.sameServers(full, ids) })
}

const ballast = "ballast"

// fills leaves so much room on the disk of a host.
func (s *stage) fills(n *cloud.Node, leftMiB int) {
	s.t.Helper()
	path := filepath.Join(n.Host.DataDir(), ballast)
	script := `free=$(df --output=avail -B1 "$1" | tail -n 1); want=$((free - $2 * 1048576)); fallocate -l $want "$1/` + ballast + `" || cat /dev/zero > "$1/` + ballast + `.more"; exit 0`
	if out, err := n.Host.Run(s.ctx, "sh", "-c", script, "sh", n.Host.DataDir(), fmt.Sprint(leftMiB)); err != nil {
		s.t.Fatalf("fill %s: %v: %s", path, err, out)
	}
}

func (s *stage) makesRoom(n *cloud.Node) {
	s.t.Helper()
	at := filepath.Join(n.Host.DataDir(), ballast)
	_, err := n.Host.Run(s.ctx, "rm", "-f", at, at+".more")
	s.must(err)
}
