package chaos

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/e2e/audit"
	"github.com/kilonova/kilonova/e2e/cloud"
)

const (
	fewServers  = 10 // fewer than that, and more are made
	mostServers = 30
	leastRest   = 50 * time.Millisecond // of a client between two deeds
	mostRest    = 400 * time.Millisecond
	nameMark    = "~" // begins what a rename adds to a server's name, so that its key stays known
	labelKey    = "label"
)

// chores are what clients do, each as often as its weight says.
var chores = []struct {
	weight int
	do     func(*client, context.Context)
}{
	{8, (*client).create}, {2, (*client).createEverywhere}, {6, (*client).drop},
	{30, (*client).look}, {14, (*client).label}, {8, (*client).rename},
	{12, (*client).power}, {4, (*client).tag}, {4, (*client).move},
	{4, (*client).createVolume}, {2, (*client).dropVolume}, {4, (*client).attach}, {3, (*client).detach},
}

// work does one chore after the other until ctx ends. What is under way then ends with all.
func (c *client) work(ctx, all context.Context) {
	total := 0
	for _, w := range chores {
		total += w.weight
	}
	for pause(ctx, leastRest+time.Duration(c.dice.Int64N(int64(mostRest-leastRest)))) {
		at := c.dice.IntN(total)
		for _, w := range chores {
			if at -= w.weight; at < 0 {
				w.do(c, all)
				break
			}
		}
	}
}

// ward is how a server outlives its node.
type ward int

const (
	unguarded  ward = iota // it waits for its node
	shared                 // its disk is in the shared directory
	replicated             // its disk has a copy on another node
	wards
)

// order is the request for a server.
func (t *town) order(name string, how ward) cloud.Request {
	one := map[string]any{"name": name, "imageRef": t.stage.image, "flavorRef": t.stage.flavor, "networks": []any{map[string]string{"uuid": t.stage.network}},
		"metadata": map[string]string{labelKey: ""}}
	switch how {
	case replicated:
		one["metadata"] = map[string]string{labelKey: "", cluster.KeyHA: "true", cluster.KeyReplicas: "2"}
	case shared:
		one["imageRef"], one["metadata"] = "", map[string]string{labelKey: "", cluster.KeyHA: "true"}
		one["block_device_mapping_v2"] = []any{map[string]any{"source_type": "image", "destination_type": "volume", "uuid": t.stage.image, "boot_index": 0,
			"delete_on_termination": true, "volume_size": 1, "volume_type": audit.SharedType}}
	}
	return cloud.Request{Method: http.MethodPost, Path: "/compute/v2.1/servers", Body: map[string]any{"server": one}}
}

func (c *client) create(ctx context.Context) {
	if c.crowd.size() >= mostServers {
		return
	}
	how := ward(c.dice.IntN(int(wards)))
	key := c.name("s")
	d := c.deed(kindCreate, key, "")
	d.Value = key
	d, a := c.try(ctx, d, c.order(key, how))
	d.IDs = madeIDs(a)
	c.made(d)
}

// createEverywhere sends the same request to all nodes at once.
func (c *client) createEverywhere(ctx context.Context) {
	if c.crowd.size() >= mostServers {
		return
	}
	key := c.name("s")
	d := c.deed(kindCreate, key, "")
	d.Value = key
	c.made(c.everywhere(ctx, d, c.order(key, unguarded)))
}

// made notes a create, and lets others know of the server.
func (c *client) made(d Deed) {
	if len(d.IDs) > 0 {
		d.ID = d.IDs[0]
		c.crowd.add(&subject{key: d.Key, id: d.ID})
	}
	c.history.add(d)
}

func (c *client) drop(ctx context.Context) {
	if c.crowd.size() <= fewServers {
		return
	}
	s := c.crowd.leave(c.dice)
	if s == nil {
		return
	}
	d, _ := c.try(ctx, c.deed(kindDelete, s.key, s.id), cloud.Request{Method: http.MethodDelete, Path: "/compute/v2.1/servers/" + s.id})
	c.history.add(d)
	if v, had := c.crowd.detach(s); had {
		c.crowd.addVolume(v)
	}
}

// look reads a server.
func (c *client) look(ctx context.Context) {
	s := c.crowd.any(c.dice)
	if s == nil {
		return
	}
	d := c.deed(kindRead, s.key, s.id)
	via := c.anyPeer()
	a, err := c.send(ctx, via, cloud.Request{Path: "/compute/v2.1/servers/" + s.id})
	d = d.told(via.Name(), a, err)
	d.Return = c.history.now()
	switch {
	case d.Outcome == done:
		var got struct {
			Server struct {
				audit.Server
				Metadata map[string]string
			}
		}
		if err := a.Into(&got); err != nil {
			c.fault("%v", err)
			return
		}
		v := got.Server
		d.Saw = &sight{Name: v.Name, Label: v.Metadata[labelKey],
			Deleting: v.Status == "DELETED" || v.Status == "SOFT_DELETED" || v.Task != nil && *v.Task == "deleting"}
	case d.Status == http.StatusNotFound:
		d.Outcome, d.Saw = done, &sight{Gone: true}
	}
	c.history.add(d)
}

func (c *client) label(ctx context.Context) {
	s := c.crowd.any(c.dice)
	if s == nil {
		return
	}
	d := c.deed(kindLabel, s.key, s.id)
	d.Value = c.name("l")
	d, _ = c.try(ctx, d, cloud.Request{Method: http.MethodPost, Path: "/compute/v2.1/servers/" + s.id + "/metadata",
		Body: map[string]any{"metadata": map[string]string{labelKey: d.Value}}})
	c.history.add(d)
}

func (c *client) rename(ctx context.Context) {
	s := c.crowd.any(c.dice)
	if s == nil {
		return
	}
	d := c.deed(kindRename, s.key, s.id)
	d.Value = s.key + nameMark + c.name("n")
	d, _ = c.try(ctx, d, cloud.Request{Method: http.MethodPut, Path: "/compute/v2.1/servers/" + s.id,
		Body: map[string]any{"server": map[string]string{"name": d.Value}}})
	c.history.add(d)
}

// act asks for something of which only the end is looked at.
func (c *client) act(ctx context.Context, s *subject, what string, r cloud.Request) Deed {
	d := c.deed(kindAct, s.key, s.id)
	d.Value = what
	d, _ = c.try(ctx, d, r)
	c.history.add(d)
	return d
}

func (c *client) action(ctx context.Context, s *subject, what string, body any) {
	c.act(ctx, s, what, cloud.Request{Method: http.MethodPost, Path: "/compute/v2.1/servers/" + s.id + "/action", Body: map[string]any{what: body}})
}

func (c *client) power(ctx context.Context) {
	s := c.crowd.any(c.dice)
	if s == nil {
		return
	}
	what := []string{"os-stop", "os-start", "os-start", "reboot", "pause", "unpause", "unpause"}[c.dice.IntN(7)]
	var body any
	if what == "reboot" {
		body = map[string]string{"type": []string{"HARD", "SOFT"}[c.dice.IntN(2)]}
	}
	c.action(ctx, s, what, body)
}

func (c *client) move(ctx context.Context) {
	if s := c.crowd.any(c.dice); s != nil && c.sim {
		c.action(ctx, s, "os-migrateLive", map[string]any{"host": nil, "block_migration": "auto"})
	}
}

func (c *client) tag(ctx context.Context) {
	if s := c.crowd.any(c.dice); s != nil {
		c.act(ctx, s, "tag", cloud.Request{Method: http.MethodPut, Path: fmt.Sprintf("/compute/v2.1/servers/%s/tags/t%d", s.id, c.dice.IntN(5))})
	}
}

func (c *client) createVolume(ctx context.Context) {
	key := c.name("v")
	body := map[string]any{"name": key, "size": 1}
	if c.dice.IntN(2) == 0 {
		body["volume_type"] = audit.SharedType
	}
	d, a := c.try(ctx, c.deed(kindVolume, key, ""), cloud.Request{Method: http.MethodPost, Path: "/volume/v3/" + c.project + "/volumes",
		Body: map[string]any{"volume": body}})
	if d.IDs = madeIDs(a); len(d.IDs) > 0 {
		d.ID = d.IDs[0]
		c.crowd.addVolume(thing{d.ID, key})
	}
	c.history.add(d)
}

func (c *client) dropVolume(ctx context.Context) {
	v, ok := c.crowd.takeVolume(c.dice)
	if !ok {
		return
	}
	d, _ := c.try(ctx, c.deed(kindVolumeDelete, v.Key, v.ID), cloud.Request{Method: http.MethodDelete, Path: "/volume/v3/" + c.project + "/volumes/" + v.ID})
	c.history.add(d)
}

func (c *client) attach(ctx context.Context) {
	s := c.crowd.any(c.dice)
	if s == nil {
		return
	}
	v, ok := c.crowd.takeVolume(c.dice)
	if !ok {
		return
	}
	if !c.crowd.attach(s, v) {
		c.crowd.addVolume(v)
		return
	}
	d := c.act(ctx, s, "attach "+v.ID, cloud.Request{Method: http.MethodPost, Path: "/compute/v2.1/servers/" + s.id + "/os-volume_attachments",
		Body: map[string]any{"volumeAttachment": map[string]string{"volumeId": v.ID}}})
	if d.Outcome == refused {
		c.crowd.detach(s)
		c.crowd.addVolume(v)
	}
}

func (c *client) detach(ctx context.Context) {
	s := c.crowd.any(c.dice)
	if s == nil {
		return
	}
	if v, had := c.crowd.detach(s); had {
		c.act(ctx, s, "detach "+v.ID, cloud.Request{Method: http.MethodDelete, Path: "/compute/v2.1/servers/" + s.id + "/os-volume_attachments/" + v.ID})
		c.crowd.addVolume(v)
	}
}

// keyOf is the key of a server by its name.
func keyOf(name string) string {
	key, _, _ := strings.Cut(name, nameMark)
	return key
}
