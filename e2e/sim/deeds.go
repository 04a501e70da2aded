package sim

import (
	"context"
	"fmt"
	"time"

	"github.com/kilonova/kilonova/cluster"
)

// Bounds of what clients ask for besides instances.
const (
	restorable = 20 * time.Second // how long what was deleted softly may come back
	mostPorts  = 3                // of an instance
)

// deed is something that a client asks to be done to an instance. What it asks is decided by dice and by what the client was shown
// last; nil: there is nothing to ask.
type deed struct {
	weight int
	disk   bool // it is about a root disk of the instance's own
	ask    func(c *client, in *cluster.Instance) func(draw uint64) cluster.Op
}

// deeds are all of them. An op is made anew for each attempt, with the IDs that whoever serves it draws.
var deeds = []deed{
	{12, false, (*client).switches},
	{10, false, func(c *client, in *cluster.Instance) func(uint64) cluster.Op {
		next := map[cluster.Power]string{cluster.WantOn: "pause", cluster.WantPaused: "unpause", cluster.WantSaved: "resume"}
		action := next[in.Wanted]
		if action == "pause" && c.dice.IntN(2) == 0 {
			action = "suspend"
		}
		return func(uint64) cluster.Op {
			return &cluster.SetPower{ID: in.ID, Request: "req-power", User: someUser, Project: someProject, Action: action}
		}
	}},
	{4, true, func(_ *client, in *cluster.Instance) func(uint64) cluster.Op {
		return func(uint64) cluster.Op {
			return &cluster.RebuildInstance{ID: in.ID, By: by("rebuild"), Image: someImage}
		}
	}},
	{5, true, func(_ *client, in *cluster.Instance) func(uint64) cluster.Op {
		return func(uint64) cluster.Op {
			return &cluster.RescueInstance{ID: in.ID, By: by("rescue"), End: in.Mode.Rescue != nil}
		}
	}},
	{12, false, (*client).moves},
	{10, false, (*client).decides},
	{8, true, (*client).captures},
	{6, true, func(_ *client, in *cluster.Instance) func(uint64) cluster.Op {
		return func(uint64) cluster.Op { return &cluster.UnshelveInstance{ID: in.ID, By: by("unshelve")} }
	}},
	{6, false, (*client).plugs},
	{2, false, func(c *client, in *cluster.Instance) func(uint64) cluster.Op {
		state := []cluster.VMState{cluster.VMActive, cluster.VMError}[c.dice.IntN(2)]
		return func(uint64) cluster.Op { return &cluster.ResetInstance{ID: in.ID, By: by("reset"), State: state} }
	}},
}

func by(what string) cluster.By {
	return cluster.By{Request: "req-" + what, User: someUser, Project: someProject}
}

// act asks for one deed.
func (c *client) act(ctx context.Context, id cluster.InstanceID) {
	total := 0
	for _, d := range deeds {
		total += d.weight
	}
	pick := c.dice.IntN(total)
	in, ok := c.w.ledger.latest().Instance(id)
	if !ok {
		return
	}
	for _, d := range deeds {
		if pick -= d.weight; pick >= 0 {
			continue
		}
		if d.disk && in.Spec.Boot.Volume {
			return
		}
		if op := d.ask(c, in); op != nil {
			c.do(ctx, op)
		}
		return
	}
}

// do makes one request.
func (c *client) do(ctx context.Context, op func(draw uint64) cluster.Op) bool {
	key, attempt := c.key(), uint64(0)
	_, err := c.request(ctx, key, func() cluster.Op {
		attempt++
		return op(c.w.dice.draw(string(key), attempt))
	})
	if err == nil {
		c.w.promises.other()
	}
	return err == nil
}

// switches asks for another power state, or a new start.
func (c *client) switches(in *cluster.Instance) func(uint64) cluster.Op {
	op := cluster.SetPower{ID: in.ID, Request: "req-power", User: someUser, Project: someProject, Wanted: cluster.WantOn}
	switch c.dice.IntN(4) {
	case 0:
		op.Wanted = cluster.WantOff
	case 1:
		op.Reboot = cluster.RebootSoft
	case 2:
		op.Reboot = cluster.RebootHard
	}
	return func(uint64) cluster.Op { again := op; return &again }
}

// moves asks for a resize, or a cold or live migration.
func (c *client) moves(in *cluster.Instance) func(uint64) cluster.Op {
	op := cluster.BeginMove{ID: in.ID, By: by("move"), What: cluster.OpMigrate}
	switch c.dice.IntN(5) {
	case 0, 1:
		bigger := flavors[1+c.dice.IntN(len(flavors)-1)]
		op.What, op.Flavor = cluster.OpResize, &bigger
	case 2, 3:
		op.What, op.CopyDisks = cluster.OpLive, "auto"
	}
	return func(draw uint64) cluster.Op {
		again := op
		again.Operation = cluster.OperationID(uuid(4, draw))
		return &again
	}
}

// decides about a move that waits for it, or aborts one.
func (c *client) decides(in *cluster.Instance) func(uint64) cluster.Op {
	revert := c.dice.IntN(2) == 0
	switch {
	case in.Op == nil:
		return nil
	case in.Op.Kind == cluster.OpLive:
		return func(uint64) cluster.Op {
			return &cluster.SignalMove{ID: in.ID, By: by("abort"), Operation: in.Op.ID, Signal: cluster.SignalAbort}
		}
	}
	return func(uint64) cluster.Op { return &cluster.EndMove{ID: in.ID, By: by("decide"), Revert: revert} }
}

// captures asks for the disk to be saved to an image, or deletes such an image.
func (c *client) captures(in *cluster.Instance) func(uint64) cluster.Op {
	if in.Op != nil && in.Op.Capture != nil {
		return func(uint64) cluster.Op { return &cluster.DeleteImage{ID: in.Op.Capture.Image} }
	}
	what := []cluster.OperationKind{cluster.OpSnapshot, cluster.OpBackup, cluster.OpShelve}[c.dice.IntN(3)]
	return func(draw uint64) cluster.Op {
		op := &cluster.BeginCapture{ID: in.ID, By: by("capture"), What: what, Operation: cluster.OperationID(uuid(4, draw)),
			Image: cluster.Image{ID: cluster.ImageID(uuid(3, draw)), Name: "saved", Visibility: cluster.Private}}
		if what == cluster.OpBackup {
			op.Backup, op.Rotation = "daily", 1
		}
		return op
	}
}

// plugs gives the instance a card, or takes one away.
func (c *client) plugs(in *cluster.Instance) func(uint64) cluster.Op {
	if n := len(in.Ports); n > 1 && (n > mostPorts || c.dice.IntN(2) == 0) {
		port := in.Ports[c.dice.IntN(n)]
		return func(uint64) cluster.Op { return &cluster.DetachPort{ID: in.ID, By: by("detach"), Port: port} }
	}
	return func(draw uint64) cluster.Op {
		return &cluster.AttachPort{ID: in.ID, By: by("attach"), Port: cluster.NewPort{New: newPort(draw)}}
	}
}

// newPort is a card on the one network. Draw gives what its IDs are made of.
func newPort(n uint64) *cluster.Port {
	return &cluster.Port{ID: cluster.PortID(uuid(2, n)), Network: someNetwork, PortSecurity: true,
		MAC: fmt.Sprintf("fa:16:%02x:%02x:%02x:%02x", byte(n>>24), byte(n>>16), byte(n>>8), byte(n))}
}

// soften deletes an instance softly, and mostly brings it back. Either may come too late.
func (c *client) soften(ctx context.Context, id cluster.InstanceID) {
	c.w.promises.askDelete(id)
	until := cluster.At(time.Now().Add(restorable))
	gone := c.do(ctx, func(uint64) cluster.Op {
		return &cluster.DeleteInstance{ID: id, Request: "req-soft", User: someUser, Project: someProject, Reclaim: until}
	})
	if !gone || c.dice.IntN(3) == 0 || !pause(ctx, time.Duration(c.dice.Int64N(int64(restorable)))) {
		return
	}
	c.do(ctx, func(uint64) cluster.Op { return &cluster.RestoreInstance{ID: id, By: by("restore")} })
}
