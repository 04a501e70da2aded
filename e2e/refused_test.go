package e2e

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/kilonova/kilonova/e2e/cloud"
)

// refusedLimit bounds the wait for what a simulated cluster settles.
const refusedLimit = 90 * time.Second

// plea is a request that is refused, and how.
type plea struct {
	what, version string
	request       cloud.Request
	status        int
	says          string
}

// refuse sends them all, to each node in turn.
func (s *stage) refuse(pleas []plea) {
	s.t.Helper()
	for i, p := range pleas {
		if p.version != "" {
			p.request.Header = map[string]string{"OpenStack-API-Version": "compute " + p.version}
		}
		a, err := s.Ask(s.ctx, s.Nodes[i%len(s.Nodes)], p.request)
		s.must(err)
		if a.Status != p.status || !strings.Contains(string(a.Body), p.says) {
			s.t.Errorf("%s: %d %s, not %d %q", p.what, a.Status, a.Body, p.status, p.says)
		}
	}
}

// action is a request for an action.
func action(id, name string, body any) cloud.Request {
	return cloud.Request{Method: http.MethodPost, Path: "/compute/v2.1/servers/" + id + "/action", Body: map[string]any{name: body}}
}

type object = map[string]any

// crowd is a cluster of three nodes, on each of which a server takes most of the room.
type crowd struct {
	*stage
	things supplies
	guest  server // on a node of its own
	fill   []server
}

// A cluster is asked for what cannot be, on all its nodes in turn. Every time it says why not, in OpenStack's words, and what runs goes on
// running where it is.
func TestRefused_WhatCannotBeIsRefusedAndNothingChanges(t *testing.T) {
	s := newSimStage(t, 3, "--sim-memory-mib", "4096")
	c := &crowd{stage: s, things: s.supply(s.Nodes[0])}
	c.gather()
	s.run("targets that there are not, disks that shrink, rotations below zero", func(s *stage) { c.on(s).words() })
	s.run("targets that lack room", func(s *stage) { c.on(s).room() })
	s.run("volumes in use", func(s *stage) { c.on(s).volumes() })
	s.run("consoles whose token was used", func(s *stage) { c.on(s).console() })
	s.run("a target that dies half-way", func(s *stage) { c.on(s).death() })
	s.run("what is gone", func(s *stage) { c.on(s).gone() })
}

func (c *crowd) on(s *stage) *crowd {
	d := *c
	d.stage = s
	return &d
}

// newFlavor makes a flavor and gives its ID.
func (c *crowd) newFlavor(name string, ram, disk int) string {
	c.t.Helper()
	var made struct{ Flavor struct{ ID string } }
	c.must(c.Do(c.ctx, c.Nodes[0], cloud.Request{Method: http.MethodPost, Path: "/compute/v2.1/flavors", Body: object{
		"flavor": object{"name": name, "ram": ram, "vcpus": 1, "disk": disk},
	}}, &made, http.StatusOK))
	return made.Flavor.ID
}

// gather makes a server on each node that leaves no room for another of its kind.
func (c *crowd) gather() {
	c.t.Helper()
	c.things.flavor = c.newFlavor("half", 2304, 2)
	for i := range c.Nodes {
		c.fill = append(c.fill, c.waitStatus(c.Nodes[0], c.create(c.Nodes[0], c.things.createRequest(fmt.Sprint("s", i))), "ACTIVE", refusedLimit))
	}
	c.guest = c.fill[0]
	for i := range c.fill[1:] {
		if c.fill[i].Host == c.fill[i+1].Host {
			c.t.Fatalf("two servers are on %s", c.fill[i].Host)
		}
	}
}

// unmoved fails unless the guest runs where it did, and nothing is done to it.
func (c *crowd) unmoved() {
	c.t.Helper()
	c.eventually("the guest is at rest where it was", refusedLimit, func() error {
		now, err := c.show(c.Nodes[1], c.guest.ID)
		if err == nil && (now.Status != "ACTIVE" || now.TaskState != "" || now.Host != c.guest.Host) {
			err = fmt.Errorf("it is %s (%s) on %s", now.Status, now.TaskState, now.Host)
		}
		return err
	})
}

func (c *crowd) words() {
	id := c.guest.ID
	c.refuse([]plea{
		{"migrate to an unknown node", "2.56", action(id, "migrate", object{"host": "nowhere"}), 400, "Compute host nowhere could not be found."},
		{"migrate to its own node", "2.56", action(id, "migrate", object{"host": c.guest.Host}), 400, "Cannot migrate to the host where the server exists."},
		{"live-migrate to an unknown node", "2.30", action(id, "os-migrateLive", object{"host": "nowhere", "block_migration": "auto"}),
			400, "Compute host nowhere could not be found."},
		{"evacuate to an unknown node", "2.68", action(id, "evacuate", object{"host": "nowhere"}), 404, "Compute host nowhere not found."},
		{"evacuate from a node that is up", "2.68", action(id, "evacuate", object{}), 400, "is still in use."},
		{"create on an unknown node", "2.74", cloud.Request{Method: http.MethodPost, Path: "/compute/v2.1/servers", Body: object{"server": object{
			"name": "x", "imageRef": c.things.image, "flavorRef": c.things.flavor, "networks": "none", "host": "nowhere"}}},
			400, "Compute host nowhere could not be found."},
		{"resize to a smaller disk", "", action(id, "resize", object{"flavorRef": c.newFlavor("short", 2304, 1)}), 400, "Resize down is not possible"},
		{"resize to no disk", "", action(id, "resize", object{"flavorRef": c.newFlavor("flat", 2304, 0)}), 400, "Resize to zero disk flavor is not allowed."},
		{"resize to the same flavor", "", action(id, "resize", object{"flavorRef": c.things.flavor}), 400, "instances must change flavor"},
		{"resize to an unknown flavor", "", action(id, "resize", object{"flavorRef": "nothing"}), 400, "Flavor nothing could not be found."},
		{"a rotation below zero", "", action(id, "createBackup", object{"name": "b", "backup_type": "daily", "rotation": -1}), 400, "rotation"},
		{"confirm what was not resized", "", action(id, "confirmResize", nil), 409, "Cannot 'confirmResize' instance " + id + " while it is in vm_state active"},
		{"start what runs", "", action(id, "os-start", nil), 409, "Cannot 'start' instance " + id + " while it is in vm_state active"},
	})
	c.unmoved()
}

// room asks for moves to nodes that are full. The request is taken, and then found to be impossible, as in Nova.
func (c *crowd) room() {
	full := c.fill[1].Host
	for _, p := range []plea{
		{what: "live-migrate", version: "2.30", request: action(c.guest.ID, "os-migrateLive", object{"host": full, "block_migration": "auto"})},
		{what: "live-migrate anywhere", version: "2.30", request: action(c.guest.ID, "os-migrateLive", object{"host": nil, "block_migration": "auto"})},
		{what: "migrate", version: "2.56", request: action(c.guest.ID, "migrate", object{"host": full})},
		{what: "resize", request: action(c.guest.ID, "resize", object{"flavorRef": c.newFlavor("whole", 64<<10, 2)})},
	} {
		p.request.Header = map[string]string{"OpenStack-API-Version": "compute " + p.version}
		if p.version == "" {
			p.request.Header = nil
		}
		c.must(c.Do(c.ctx, c.Nodes[2], p.request, nil, http.StatusAccepted))
		c.unmoved()
		var list struct {
			Actions []struct{ Message string } `json:"instanceActions"`
		}
		c.must(c.Get(c.ctx, c.Nodes[0], "/compute/v2.1/servers/"+c.guest.ID+"/os-instance-actions", &list))
		if list.Actions[0].Message != "Error" {
			c.t.Errorf("%s without room is remembered as %+v", p.what, list.Actions[0])
		}
	}
}

func (c *crowd) volumes() {
	volume := c.newVolume("--size", "1", "--bootable", "mine")
	attach := func(id string) cloud.Request {
		return cloud.Request{Method: http.MethodPost, Path: "/compute/v2.1/servers/" + id + "/os-volume_attachments",
			Body: object{"volumeAttachment": object{"volumeId": volume}}}
	}
	c.must(c.Do(c.ctx, c.Nodes[0], attach(c.guest.ID), nil, http.StatusOK))
	c.volumeBecomes(volume, "in-use")
	at := func(path string, body any) cloud.Request {
		return cloud.Request{Method: http.MethodPost, Path: "/volume/v3/" + path, Body: body}
	}
	c.refuse([]plea{
		{"attach it twice", "", attach(c.guest.ID), 400, "already attached"},
		{"attach it to another server", "", attach(c.fill[1].ID), 400, "status must be 'available'"},
		{"delete it", "", cloud.Request{Method: http.MethodDelete, Path: "/volume/v3/volumes/" + volume}, 400, "Volume status must be available"},
		{"make a snapshot of it", "", at("snapshots", object{"snapshot": object{"volume_id": volume}}), 400, "status must be available"},
		{"make a server boot from it", "2.37", cloud.Request{Method: http.MethodPost, Path: "/compute/v2.1/servers", Body: object{"server": object{
			"name": "x", "imageRef": "", "flavorRef": c.things.flavor, "networks": "none",
			"block_device_mapping_v2": []object{{"uuid": volume, "source_type": "volume", "destination_type": "volume", "boot_index": 0}}}}},
			400, "status must be 'available'"},
		{"make it smaller", "", at("volumes/"+volume+"/action", object{"os-extend": object{"new_size": 1}}), 400, ""},
	})
	c.unmoved()
	c.must(c.Do(c.ctx, c.Nodes[0], cloud.Request{Method: http.MethodDelete, Path: "/compute/v2.1/servers/" + c.guest.ID +
		"/os-volume_attachments/" + volume}, nil, http.StatusAccepted))
	c.volumeBecomes(volume, "available")
}

// console opens a console with a token on one node, and tries the same token on all.
func (c *crowd) console() {
	var made struct {
		Console struct{ URL string } `json:"remote_console"`
	}
	c.must(c.Do(c.ctx, c.Nodes[0], cloud.Request{Method: http.MethodPost, Path: "/compute/v2.1/servers/" + c.guest.ID + "/remote-consoles",
		Header: map[string]string{"OpenStack-API-Version": "compute 2.8"},
		Body:   object{"remote_console": object{"protocol": "serial", "type": "serial"}}}, &made, http.StatusOK))
	at, err := url.Parse(made.Console.URL)
	c.must(err)
	ctx, cancel := context.WithTimeout(c.ctx, refusedLimit)
	defer cancel()
	opts := &websocket.DialOptions{HTTPClient: c.HTTPClient(), Subprotocols: []string{"binary"}}
	ws, _, err := websocket.Dial(ctx, at.String(), opts)
	c.must(err)
	defer ws.CloseNow()
	for _, n := range c.Nodes {
		at.Host = strings.TrimPrefix(n.URL(), "https://")
		again, answer, err := websocket.Dial(ctx, at.String(), opts)
		if err == nil {
			again.CloseNow()
		}
		if answer == nil || answer.StatusCode != http.StatusForbidden {
			c.t.Errorf("a token that was used opens a console on %s: %v", n.Name(), err)
		}
	}
}

// death lets the destination of a live migration die when the guest's memory is about to come. The guest stays.
func (c *crowd) death() {
	victim := c.node(c.fill[2].Host)
	c.must(c.Do(c.ctx, c.Nodes[0], cloud.Request{Method: http.MethodDelete, Path: "/compute/v2.1/servers/" + c.fill[2].ID}, nil, http.StatusNoContent))
	c.eventually("its room is free", refusedLimit, func() error {
		a, err := c.Ask(c.ctx, c.Nodes[0], cloud.Request{Path: "/compute/v2.1/servers/" + c.fill[2].ID})
		if err == nil && a.Status != http.StatusNotFound {
			err = fmt.Errorf("status %d", a.Status)
		}
		return err
	})
	c.restartWith(victim, "operate/landing/before-stream=kill")
	via := c.node(c.guest.Host)
	r := action(c.guest.ID, "os-migrateLive", object{"host": victim.Name(), "block_migration": "auto"})
	r.Header = map[string]string{"OpenStack-API-Version": "compute 2.30"}
	c.must(c.Do(c.ctx, via, r, nil, http.StatusAccepted))
	c.dies(victim)
	c.eventually("the guest runs where it did", refusedLimit, func() error {
		now, err := c.show(via, c.guest.ID)
		if err == nil && (now.Status != "ACTIVE" && now.Status != "MIGRATING" || now.Host != c.guest.Host) {
			err = fmt.Errorf("it is %s (%s) on %s", now.Status, now.TaskState, now.Host)
		}
		return err
	})
	victim.Env = nil
	c.must(victim.Start(c.ctx))
	c.eventually("the migration is settled", refusedLimit, func() error {
		now, err := c.show(via, c.guest.ID)
		if err == nil && (now.Status != "ACTIVE" || now.TaskState != "") {
			err = fmt.Errorf("it is %s (%s) on %s", now.Status, now.TaskState, now.Host)
		}
		return err
	})
}

func (c *crowd) gone() {
	id := c.guest.ID
	c.must(c.Do(c.ctx, c.Nodes[1], cloud.Request{Method: http.MethodDelete, Path: "/compute/v2.1/servers/" + id}, nil, http.StatusNoContent))
	c.eventually("it is gone", refusedLimit, func() error {
		a, err := c.Ask(c.ctx, c.Nodes[1], cloud.Request{Path: "/compute/v2.1/servers/" + id})
		if err == nil && a.Status != http.StatusNotFound {
			err = fmt.Errorf("status %d", a.Status)
		}
		return err
	})
	c.refuse([]plea{
		{"a snapshot of it", "", action(id, "createImage", object{"name": "i"}), 404, "Instance " + id + " could not be found."},
		{"a backup of it", "", action(id, "createBackup", object{"name": "b", "backup_type": "daily", "rotation": 1}), 404, "could not be found."},
		{"to start it", "", action(id, "os-start", nil), 404, "could not be found."},
		{"to move it", "2.30", action(id, "os-migrateLive", object{"host": nil, "block_migration": "auto"}), 404, "could not be found."},
		{"to look at its console", "", action(id, "os-getConsoleOutput", object{}), 404, "could not be found."},
	})
}
