package crash

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"

	"github.com/kilonova/kilonova/e2e/audit"
	"github.com/kilonova/kilonova/node/operate"
)

// deed is one operation of an instance's life.
type deed struct {
	name   string
	action string // Nova's name of it in the instance's actions
	before []step // what makes an ACTIVE server one that it can be done to; nothing fails meanwhile
	do     step   // what is done while something fails

	done, undone []string // the statuses in which it may leave the server; "": the server is gone

	volume bool // the server boots from a volume
	shared bool // that is in the directory that all nodes share
	makes  bool // it makes the server itself
	few    int  // no more can be done at the same time; 0: any number can
	away   bool // the server's host has lost its power before
	memory bool // the guest does not notice
	anew   bool // the guest gets a new disk, or an older one
}

// step is something that is asked of a server. wait is the status that it leads to, if it is waited for.
type step struct {
	ask  func(ctx context.Context, p *play) error
	wait string
}

// act is an action of a server.
func act(name string, value any) func(context.Context, *play) error {
	return func(ctx context.Context, p *play) error {
		return p.api().post(ctx, "/compute/v2.1/servers/"+p.id+"/action", map[string]any{name: value}, nil)
	}
}

var (
	active  = []string{"ACTIVE"}
	stopped = []string{"SHUTOFF"}
	gone    = []string{""}
)

// deeds are all operations that take more than one step.
func deeds() []deed {
	var all []deed
	for _, some := range [][]deed{powerDeeds(), moveDeeds(), awayDeeds(), imageDeeds(), volumeDeeds(), lifeDeeds()} {
		all = append(all, some...)
	}
	return all
}

func powerDeeds() []deed {
	paused, suspended := []string{"PAUSED"}, []string{"SUSPENDED"}
	pause, suspend := step{act("pause", nil), "PAUSED"}, step{act("suspend", nil), "SUSPENDED"}
	stop := step{act("os-stop", nil), "SHUTOFF"}
	return []deed{
		{name: "stop", action: "stop", do: stop, done: stopped, undone: active},
		{name: "start", action: "start", before: []step{stop}, do: step{act("os-start", nil), "ACTIVE"}, done: active, undone: stopped},
		{name: "reboot-hard", action: "reboot", do: step{act("reboot", map[string]any{"type": "HARD"}), "ACTIVE"}, done: active, undone: active},
		{name: "reboot-soft", action: "reboot", do: step{act("reboot", map[string]any{"type": "SOFT"}), "ACTIVE"}, done: active, undone: active},
		{name: "pause", action: "pause", do: pause, done: paused, undone: active, memory: true},
		{name: "unpause", action: "unpause", before: []step{pause}, do: step{act("unpause", nil), "ACTIVE"}, done: active, undone: paused, memory: true},
		{name: "suspend", action: "suspend", do: suspend, done: suspended, undone: active, memory: true},
		{name: "resume", action: "resume", before: []step{suspend}, do: step{act("resume", nil), "ACTIVE"}, done: active, undone: suspended, memory: true},
	}
}

func moveDeeds() []deed {
	resized := []string{"VERIFY_RESIZE"}
	resize := step{resizeTo, "VERIFY_RESIZE"}
	migrate := step{act("migrate", nil), "VERIFY_RESIZE"}
	confirm, revert := step{act("confirmResize", nil), "ACTIVE"}, step{act("revertResize", nil), "ACTIVE"}
	live := step{act("os-migrateLive", map[string]any{"host": nil, "block_migration": "auto"}), "ACTIVE"}
	return []deed{
		{name: "resize", action: "resize", do: resize, done: resized, undone: active},
		{name: "resize-confirm", action: "confirmResize", before: []step{resize}, do: confirm, done: active, undone: resized, memory: true},
		{name: "resize-revert", action: "revertResize", before: []step{resize}, do: revert, done: active, undone: resized, anew: true},
		{name: "migrate", action: "migrate", do: migrate, done: resized, undone: active},
		{name: "migrate-volume", action: "migrate", do: migrate, done: resized, undone: active, volume: true, shared: true},
		{name: "migrate-confirm", action: "confirmResize", before: []step{migrate}, do: confirm, done: active, undone: resized, memory: true},
		{name: "migrate-revert", action: "revertResize", before: []step{migrate}, do: revert, done: active, undone: resized, anew: true},
		{name: "migrate-stopped", action: "migrate", before: []step{{act("os-stop", nil), "SHUTOFF"}}, do: migrate, done: resized, undone: stopped},
		{name: "live-migrate", action: "live-migration", do: live, done: active, undone: active, memory: true},
		{name: "live-migrate-paused", action: "live-migration", before: []step{{act("pause", nil), "PAUSED"}}, do: live,
			done: []string{"PAUSED"}, undone: []string{"PAUSED"}, memory: true},
		{name: "live-migrate-volume", action: "live-migration", do: live, done: active, undone: active, memory: true, volume: true, shared: true},
	}
}

// awayDeeds are done after the server's host has lost its power, on an operator's word.
func awayDeeds() []deed {
	evacuate := step{act("evacuate", map[string]any{}), "ACTIVE"}
	failed := []string{"ERROR"}
	return []deed{
		{name: "evacuate", action: "evacuate", do: evacuate, done: active, undone: failed, away: true, anew: true},
		{name: "evacuate-migrating", action: "evacuate", before: []step{{stickInFlight, ""}}, do: evacuate,
			done: active, undone: failed, away: true, anew: true, few: 2}, // migrations that a host makes at the same time
	}
}

// stickInFlight migrates a running server until its host begins to send the guest, and holds it there until the host loses its power.
func stickInFlight(ctx context.Context, p *play) error {
	host, here := p.troupe.town.named(p.host), filepath.Join(p.troupe.town.dir, p.name+".stuck")
	place := operate.PointMigrateSending + "@" + p.id
	if err := host.arm("wait:"+here, place); err != nil {
		return err
	}
	if err := act("os-migrateLive", map[string]any{"host": nil, "block_migration": "auto"})(ctx, p); err != nil {
		return err
	}
	err := p.troupe.town.poll(ctx, func() error {
		if absent(here) {
			return fmt.Errorf("%s does not come by %s", host.name, place)
		}
		return nil
	})
	return errors.Join(err, host.disarm(place)) // whoever stands there stays
}

// resizeTo asks for the larger flavor.
func resizeTo(ctx context.Context, p *play) error {
	return act("resize", map[string]any{"flavorRef": p.troupe.stage.large})(ctx, p)
}

func imageDeeds() []deed {
	away := []string{audit.Offloaded}
	shelve := step{act("shelve", nil), audit.Offloaded}
	rescue := step{act("rescue", nil), "RESCUE"}
	snapshot := step{takeSnapshot, "ACTIVE"}
	return []deed{
		{name: "snapshot", action: "createImage", do: snapshot, done: active, undone: active, memory: true},
		{name: "snapshot-volume", action: "createImage", do: snapshot, done: active, undone: active, memory: true, volume: true},
		{name: "backup", action: "createBackup", do: step{takeBackup, "ACTIVE"}, done: active, undone: active, memory: true},
		{name: "shelve", action: "shelve", do: shelve, done: away, undone: active},
		{name: "unshelve", action: "unshelve", before: []step{shelve}, do: step{act("unshelve", nil), "ACTIVE"}, done: active, undone: away},
		{name: "rebuild", action: "rebuild", do: step{rebuild, "ACTIVE"}, done: active, undone: active, anew: true},
		{name: "rescue", action: "rescue", do: rescue, done: []string{"RESCUE"}, undone: active},
		{name: "unrescue", action: "unrescue", before: []step{rescue}, do: step{act("unrescue", nil), "ACTIVE"}, done: active, undone: []string{"RESCUE"}},
	}
}

func takeSnapshot(ctx context.Context, p *play) error {
	return act("createImage", map[string]any{"name": p.name})(ctx, p)
}

func takeBackup(ctx context.Context, p *play) error {
	return act("createBackup", map[string]any{"name": p.name, "backup_type": "daily", "rotation": 1})(ctx, p)
}

func rebuild(ctx context.Context, p *play) error {
	return act("rebuild", map[string]any{"imageRef": p.troupe.stage.image})(ctx, p)
}

func volumeDeeds() []deed {
	attach := step{attachVolume, "ACTIVE"}
	return []deed{
		{name: "attach-volume", action: "attach_volume", before: []step{{makeVolume, ""}}, do: attach, done: active, undone: active, memory: true},
		{name: "detach-volume", action: "detach_volume", before: []step{{makeVolume, ""}, attach, {volumeAttached, ""}}, do: step{detachVolume, "ACTIVE"},
			done: active, undone: active, memory: true},
		{name: "attach-port", action: "attach_interface", do: step{attachPort, "ACTIVE"}, done: active, undone: active, memory: true},
	}
}

func makeVolume(ctx context.Context, p *play) error {
	var made struct{ Volume struct{ ID string } }
	body := map[string]any{"volume": map[string]any{"size": 1, "name": p.name}}
	err := p.api().post(ctx, "/volume/v3/"+p.api().project+"/volumes", body, &made)
	p.extra = made.Volume.ID
	return err
}

func (p *play) attachments() string {
	return "/compute/v2.1/servers/" + p.id + "/os-volume_attachments"
}

func attachVolume(ctx context.Context, p *play) error {
	return p.api().post(ctx, p.attachments(), map[string]any{"volumeAttachment": map[string]any{"volumeId": p.extra}}, nil)
}

func detachVolume(ctx context.Context, p *play) error {
	return p.api().ask(ctx, http.MethodDelete, p.attachments()+"/"+p.extra, nil, nil)
}

// bootVolume finds the volume that the server boots from, and waits until it is said to be in use.
func bootVolume(ctx context.Context, p *play) error {
	s, err := p.api().server(ctx, p.id)
	if err != nil {
		return err
	}
	if len(s.Volumes) != 1 {
		return fmt.Errorf("it has the volumes %v", s.Volumes)
	}
	p.extra = s.Volumes[0].ID
	return volumeAttached(ctx, p)
}

// volumeAttached waits until the guest has its volume.
func volumeAttached(ctx context.Context, p *play) error {
	return p.troupe.town.poll(ctx, func() error {
		v, err := p.volume(ctx)
		if err == nil && v.Status != "in-use" {
			err = fmt.Errorf("volume %s is %s", p.extra, v.Status)
		}
		return err
	})
}

func (p *play) volume(ctx context.Context) (audit.Volume, error) {
	var got struct{ Volume audit.Volume }
	err := p.api().get(ctx, "/volume/v3/"+p.api().project+"/volumes/"+p.extra, &got)
	return got.Volume, err
}

func attachPort(ctx context.Context, p *play) error {
	return p.api().post(ctx, "/compute/v2.1/servers/"+p.id+"/os-interface",
		map[string]any{"interfaceAttachment": map[string]any{"net_id": p.troupe.stage.network}}, nil)
}

func lifeDeeds() []deed {
	softly := step{deleteServer, "SOFT_DELETED"}
	made := []string{"ACTIVE"}
	return []deed{
		{name: "create", action: "create", do: step{createServer, "ACTIVE"}, done: made, undone: []string{"ERROR"}, makes: true},
		{name: "create-volume", action: "create", do: step{createServer, "ACTIVE"}, done: made, undone: []string{"ERROR"}, makes: true, volume: true},
		{name: "soft-delete", action: "softDelete", do: softly, done: []string{"SOFT_DELETED"}, undone: active},
		{name: "restore", action: "restore", before: []step{softly}, do: step{act("restore", nil), "ACTIVE"}, done: active, undone: []string{"SOFT_DELETED"}},
		{name: "delete", action: "delete", do: step{destroyServer, ""}, done: gone, undone: gone},
		{name: "delete-volume", action: "delete", do: step{destroyServer, ""}, done: gone, undone: gone, volume: true},
	}
}

func deleteServer(ctx context.Context, p *play) error {
	return p.api().ask(ctx, http.MethodDelete, "/compute/v2.1/servers/"+p.id, nil, nil)
}

func destroyServer(ctx context.Context, p *play) error { return act("forceDelete", nil)(ctx, p) }

// createServer makes the play's server.
func createServer(ctx context.Context, p *play) error {
	s := p.troupe.stage
	spec := map[string]any{"name": p.name, "flavorRef": s.small, "networks": []map[string]any{{"uuid": s.network}}}
	if p.deed.volume {
		device := map[string]any{"boot_index": 0, "uuid": s.image, "source_type": "image", "destination_type": "volume", "volume_size": 1,
			"delete_on_termination": true}
		if p.deed.shared {
			device["volume_type"] = audit.SharedType
		}
		spec["block_device_mapping_v2"] = []map[string]any{device}
	} else {
		spec["imageRef"] = s.image
	}
	if p.host != "" {
		spec["host"] = p.host
	}
	var made struct{ Server struct{ ID string } }
	err := p.api().post(ctx, "/compute/v2.1/servers", map[string]any{"server": spec}, &made)
	p.id = made.Server.ID
	return err
}
