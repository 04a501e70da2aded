package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/kilonova/kilonova/e2e/cloud"
)

// actPoll is how often a client asks for the state that it waits for. It and the answer's own time are in the figures.
const actPoll = 5 * time.Millisecond

// played is a server as the figures need it.
type played struct {
	ID     string
	Status string
	Host   string  `json:"OS-EXT-SRV-ATTR:host"`
	Task   *string `json:"OS-EXT-STS:task_state"`
	Fault  struct{ Message string }
}

// act asks for something to be done to a server.
func (t *theater) act(ctx context.Context, id string, body map[string]any) error {
	return t.admin.post(ctx, "/compute/v2.1/servers/"+id+"/action", body, nil)
}

// settled waits until a server has a status and nothing is under way with it.
func (t *theater) settled(ctx context.Context, id, status string) (played, error) {
	ctx, cancel := context.WithTimeout(ctx, handTimeout)
	defer cancel()
	for {
		var shown struct{ Server played }
		err := t.admin.get(ctx, "/compute/v2.1/servers/"+id, &shown)
		if err != nil && !strings.Contains(err.Error(), "503") { // a disk that is kept busy may hold up agreement for a while
			return played{}, err
		}
		s := shown.Server
		switch {
		case s.Status == status && s.Task == nil:
			return s, nil
		case s.Status == "ERROR":
			return s, fmt.Errorf("server %s: %s", id, s.Fault.Message)
		}
		if err := sleep(ctx, actPoll); err != nil {
			return s, fmt.Errorf("wait until server %s is %s, it is %q: %w", id, status, s.Status, err)
		}
	}
}

// acted asks for something, waits for the status that it leads to, and says how long both took.
func (t *theater) acted(ctx context.Context, id string, body map[string]any, status string) (time.Duration, error) {
	start := time.Now()
	if err := t.act(ctx, id, body); err != nil {
		return 0, err
	}
	_, err := t.settled(ctx, id, status)
	return time.Since(start), err
}

// cast makes a server, which begins to boot, and gives it with its node.
func (t *theater) cast(ctx context.Context, flavor string) (played, *cloud.Node, error) {
	s := *t.scene
	if flavor != "" {
		s.flavor = flavor
	}
	var made struct{ Server struct{ ID string } }
	if err := t.admin.post(ctx, "/compute/v2.1/servers", s.server("bench", 1), &made); err != nil {
		return played{}, nil, err
	}
	v, err := t.settled(ctx, made.Server.ID, "ACTIVE")
	if err != nil {
		return v, nil, err
	}
	n, err := t.node(v.Host)
	return v, n, err
}

// cut stops a server without waiting for its guest, whose power is cut by hand when it was asked to shut down.
func (t *theater) cut(ctx context.Context, n *cloud.Node, id string) error {
	if err := t.act(ctx, id, map[string]any{"os-stop": nil}); err != nil {
		return err
	}
	if _, err := n.Host.Run(ctx, "virsh", "destroy", id); err != nil {
		return err
	}
	_, err := t.settled(ctx, id, "SHUTOFF")
	return err
}

// node finds a host by its name.
func (t *theater) node(name string) (*cloud.Node, error) {
	for _, n := range t.cloud.Nodes {
		if n.Name() == name {
			return n, nil
		}
	}
	return nil, fmt.Errorf("there is no host %q", name)
}

// other is a host other than the given one.
func (t *theater) other(than *cloud.Node) *cloud.Node {
	for _, n := range t.cloud.Nodes {
		if n != than {
			return n
		}
	}
	return nil
}

// flavor makes one more flavor.
func (t *theater) flavor(ctx context.Context, name string, size map[string]any) (string, error) {
	size["name"] = name
	var made struct{ Flavor struct{ ID string } }
	err := t.admin.post(ctx, "/compute/v2.1/flavors", map[string]any{"flavor": size}, &made)
	return made.Flavor.ID, err
}
