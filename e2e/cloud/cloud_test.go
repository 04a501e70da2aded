package cloud

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"
)

// binaryEnv names the kilonova program under test.
const binaryEnv = "KILONOVA_BIN"

func needCluster(t *testing.T) string {
	t.Helper()
	binary := os.Getenv(binaryEnv)
	if os.Geteuid() != 0 || testing.Short() || binary == "" {
		t.Skip("a cluster needs root, " + binaryEnv + " (make test sets it), and is left out of -short")
	}
	return binary
}

// An operator makes a cluster of two machines, looks at it with the stock client through either, and adds a third.
func TestUp_MakesAClusterThatGrows(t *testing.T) {
	binary := needCluster(t)
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	defer cancel()
	c, err := Up(ctx, Options{Binary: binary, Nodes: 2, DiskMiB: 1024})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	third, err := c.AddNode(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Join(ctx, third); err != nil {
		t.Fatal(err)
	}
	for _, n := range c.Nodes {
		members, err := c.Members(ctx, n)
		if err != nil || len(members) != 3 {
			t.Errorf("%s sees %+v, %v; want three members", n.Name(), members, err)
		}
		list, err := c.OpenStack(ctx, n, "hypervisor", "list", "-f", "value", "-c", "Hypervisor Hostname")
		if err != nil || strings.Count(list, "\n") != 3 {
			t.Errorf("through %s, openstack lists %q, %v", n.Name(), list, err)
		}
	}
	follower, err := c.Follower(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := follower.Daemon.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := follower.Start(ctx); err != nil {
		t.Error(err)
	}
}

func TestUp_WithoutAProgramMakesNoHosts(t *testing.T) {
	made := false
	_, err := Up(context.Background(), Options{Binary: "/nowhere/kilonova", Nodes: 1, Step: func(string, func() error) error {
		made = true
		return nil
	}})
	if err == nil || made {
		t.Errorf("Up = %v, and hosts were made: %v", err, made)
	}
}
