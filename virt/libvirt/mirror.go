package libvirt

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	rpc "github.com/digitalocean/go-libvirt"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/virt"
)

// The names of a mirror's parts within QEMU. libvirt leaves alone what it has not made.
const (
	mirrorJob    = "kilonova-mirror"
	mirrorTarget = "kilonova-mirror-target"
	mirrorFilter = "kilonova-mirror-filter"
	mirrorExport = "root"
)

// forEver is how long QEMU lets requests wait for a mirror that it has lost, in seconds. With any less the guest would be told in the end that
// something is written which the mirror does not have, and if this node's daemon is dead nobody would have said so before. (libvirt
// 9.0 drops the option from the definition of a block copy, so QEMU is told by its monitor.)
const forEver = math.MaxUint32

var _ virt.Mirrors = (*Driver)(nil)

// Mirror begins to copy the root disk of a running domain.
func (d *Driver) Mirror(ctx context.Context, id cluster.InstanceID, socket string) error {
	dom, err := d.needRunning(ctx, id)
	if err == nil {
		err = d.beginMirror(ctx, dom, socket)
	}
	if err != nil {
		return fmt.Errorf("mirror the disk of %s: %w", id, err)
	}
	return nil
}

func (d *Driver) beginMirror(ctx context.Context, dom rpc.Domain, socket string) error {
	state, err := d.mirrorState(ctx, dom)
	if err != nil || state != virt.MirrorNone {
		return err
	}
	node, err := d.rootNode(ctx, dom)
	if err != nil {
		return err
	}
	if err := d.dropTarget(ctx, dom); err != nil { // an earlier daemon may have left one
		return err
	}
	type object = map[string]any
	err = d.qmp(ctx, dom, "blockdev-add", object{
		"driver": "nbd", "node-name": mirrorTarget, "export": mirrorExport, "discard": "unmap", "reconnect-delay": uint32(forEver),
		"server": object{"type": "unix", "path": socket},
	}, nil)
	if err != nil {
		return err
	}
	// The copy lies on the same image there, so that only what differs from it is sent.
	err = d.qmp(ctx, dom, "blockdev-mirror", object{
		"job-id": mirrorJob, "device": node, "target": mirrorTarget, "filter-node-name": mirrorFilter,
		"sync": "top", "copy-mode": "write-blocking", "on-source-error": "report", "on-target-error": "report",
	}, nil)
	if err != nil {
		return errors.Join(err, d.dropTarget(ctx, dom))
	}
	return nil
}

// rootNode names the block node that the guest's root disk has in QEMU now.
func (d *Driver) rootNode(ctx context.Context, dom rpc.Domain) (string, error) {
	var all []struct {
		Device   string `json:"qdev"`
		Inserted struct {
			Node string `json:"node-name"`
		} `json:"inserted"`
	}
	if err := d.qmp(ctx, dom, "query-block", nil, &all); err != nil {
		return "", err
	}
	for _, b := range all {
		if slices.Contains(strings.Split(b.Device, "/"), madePrefix+string(virt.DiskRoot)) && b.Inserted.Node != "" {
			return b.Inserted.Node, nil
		}
	}
	return "", fmt.Errorf("%w: QEMU names no root disk", virt.ErrUnsupported)
}

// Mirrored tells how far the mirroring is.
func (d *Driver) Mirrored(ctx context.Context, id cluster.InstanceID) (virt.MirrorState, error) {
	dom, err := d.needRunning(ctx, id)
	if errors.Is(err, virt.ErrNotFound) {
		err = virt.ErrNotRunning
	}
	state := virt.MirrorNone
	if err == nil {
		state, err = d.mirrorState(ctx, dom)
	}
	if err != nil {
		return virt.MirrorNone, fmt.Errorf("look at the mirror of %s: %w", id, err)
	}
	return state, nil
}

func (d *Driver) mirrorState(ctx context.Context, dom rpc.Domain) (virt.MirrorState, error) {
	var jobs []struct {
		ID     string `json:"id"`
		Status string `json:"status"`
	}
	if err := d.qmp(ctx, dom, "query-jobs", nil, &jobs); err != nil {
		return virt.MirrorNone, err
	}
	for _, j := range jobs {
		switch {
		case j.ID != mirrorJob:
		case j.Status == "ready":
			return virt.MirrorReady, nil
		default:
			return virt.MirrorCopying, nil
		}
	}
	return virt.MirrorNone, nil
}

// EndMirror ends the mirroring. The guest goes on here.
func (d *Driver) EndMirror(ctx context.Context, id cluster.InstanceID) error {
	dom, err := d.needRunning(ctx, id)
	if errors.Is(err, virt.ErrNotRunning) || errors.Is(err, virt.ErrNotFound) {
		return nil
	}
	if err == nil {
		err = d.endMirror(ctx, dom)
	}
	if err != nil {
		return fmt.Errorf("end the mirror of %s: %w", id, err)
	}
	return nil
}

// endMirror is also what every other copy of the disk begins with: QEMU makes one at a time.
func (d *Driver) endMirror(ctx context.Context, dom rpc.Domain) error {
	if d.cfg.mock() {
		return nil
	}
	for asked := false; ; {
		on, err := d.active(ctx, dom)
		if err != nil || !on {
			return err
		}
		state, err := d.mirrorState(ctx, dom)
		if err != nil {
			return err
		}
		if state == virt.MirrorNone {
			return d.dropTarget(ctx, dom)
		}
		if !asked { // by force: the requests that wait are answered, and nothing is waited for
			err := d.qmp(ctx, dom, "block-job-cancel", map[string]any{"device": mirrorJob, "force": true}, nil)
			if err != nil { // unless somebody else has ended it meanwhile
				if now, lookErr := d.mirrorState(ctx, dom); lookErr != nil || now != virt.MirrorNone {
					return err
				}
			}
			asked = true
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(jobPoll):
		}
	}
}

// dropTarget closes the connection to the other side, if there is one.
func (d *Driver) dropTarget(ctx context.Context, dom rpc.Domain) error {
	there, err := d.hasTarget(ctx, dom)
	if err != nil || !there {
		return err
	}
	if err := d.qmp(ctx, dom, "blockdev-del", map[string]any{"node-name": mirrorTarget}, nil); err != nil { // or somebody else did
		if there, lookErr := d.hasTarget(ctx, dom); lookErr != nil || there {
			return err
		}
	}
	return nil
}

func (d *Driver) hasTarget(ctx context.Context, dom rpc.Domain) (bool, error) {
	var nodes []struct {
		Name string `json:"node-name"`
	}
	if err := d.qmp(ctx, dom, "query-named-block-nodes", map[string]any{"flat": true}, &nodes); err != nil {
		return false, err
	}
	for _, n := range nodes {
		if n.Name == mirrorTarget {
			return true, nil
		}
	}
	return false, nil
}

// qmp sends one command to QEMU's monitor, and reads what it returns.
func (d *Driver) qmp(ctx context.Context, dom rpc.Domain, command string, arguments map[string]any, out any) error {
	request, err := json.Marshal(struct {
		Execute   string         `json:"execute"`
		Arguments map[string]any `json:"arguments,omitempty"`
	}{command, arguments})
	if err != nil {
		return err
	}
	text, err := ask(ctx, d.rpc, command, func(l *rpc.Libvirt) (string, error) {
		return l.QEMUDomainMonitorCommand(dom, string(request), 0)
	})
	if err != nil {
		return err
	}
	if err := readQMP(text, out); err != nil {
		return fmt.Errorf("%s: %w", command, err)
	}
	return nil
}

// readQMP reads QEMU's answer to a command.
func readQMP(text string, out any) error {
	var answer struct {
		Return json.RawMessage `json:"return"`
		Error  *struct {
			Class string `json:"class"`
			Text  string `json:"desc"`
		} `json:"error"`
	}
	if err := json.Unmarshal([]byte(text), &answer); err != nil {
		return fmt.Errorf("read QEMU's answer: %w", err)
	}
	switch {
	case answer.Error != nil:
		return fmt.Errorf("QEMU refuses: %s (%s)", answer.Error.Text, answer.Error.Class)
	case answer.Return == nil:
		return errors.New("read QEMU's answer: it returns nothing")
	case out == nil:
		return nil
	}
	if err := json.Unmarshal(answer.Return, out); err != nil {
		return fmt.Errorf("read QEMU's answer: %w", err)
	}
	return nil
}
