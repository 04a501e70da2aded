package compute_test

import (
	"github.com/kilonova/kilonova/cluster"
)

// deed is something that is asked of one server, and when Nova does it (OpenStack Compute API reference).
type deed struct {
	words  string // what Nova calls it where it refuses it
	do     func(l *inside, token string, id cluster.InstanceID) *answer
	states []cluster.VMState   // in which it is done; nil: in all
	tasks  []cluster.TaskState // during which, too; anyTask: whatever else is being done
	locked bool                // also by a member on a locked server: it changes nothing that the lock protects
	admin  bool                // an administrator's
}

// anyTask stands for every task.
var anyTask = []cluster.TaskState{"*"}

var (
	living  = []cluster.VMState{cluster.VMActive, cluster.VMStopped, cluster.VMPaused, cluster.VMSuspended}
	cold    = []cluster.VMState{cluster.VMActive, cluster.VMStopped}
	broken  = []cluster.VMState{cluster.VMActive, cluster.VMStopped, cluster.VMError}
	carded  = []cluster.VMState{cluster.VMActive, cluster.VMStopped, cluster.VMPaused}
	volumed = []cluster.VMState{cluster.VMActive, cluster.VMStopped, cluster.VMPaused, cluster.VMResized, cluster.VMSoftDeleted, cluster.VMOffloaded}
	crashes = []cluster.VMState{cluster.VMActive, cluster.VMPaused, cluster.VMRescued, cluster.VMResized, cluster.VMError}
	gone    = []cluster.VMState{cluster.VMActive, cluster.VMStopped, cluster.VMError, cluster.VMPaused, cluster.VMSuspended}
	resets  = []cluster.TaskState{cluster.TaskRebooting, cluster.TaskRebootHard, cluster.TaskResuming, cluster.TaskUnpausing,
		cluster.TaskPausing, cluster.TaskSuspending}
)

func only(states ...cluster.VMState) []cluster.VMState { return states }

// by is a deed by an action.
func by(name, version string, body any) func(*inside, string, cluster.InstanceID) *answer {
	return func(l *inside, token string, id cluster.InstanceID) *answer {
		return l.act(token, version, id, object{name: body})
	}
}

// at is a deed by a path below the server's.
func at(method, path, version string, body any) func(*inside, string, cluster.InstanceID) *answer {
	return func(l *inside, token string, id cluster.InstanceID) *answer {
		return l.do(token, version, method, "/servers/"+string(id)+path, body)
	}
}

// deeds are all changes that can be asked of a server.
var deeds = map[string]deed{
	"start":          {words: "start", do: by("os-start", "", nil), states: only(cluster.VMStopped)},
	"stop":           {words: "stop", do: by("os-stop", "", nil), states: only(cluster.VMActive, cluster.VMError)},
	"reboot soft":    {words: "reboot", do: by("reboot", "", object{"type": "SOFT"}), states: only(cluster.VMActive)},
	"reboot hard":    {words: "reboot", do: by("reboot", "", object{"type": "HARD"}), states: append(only(cluster.VMError), living...), tasks: resets},
	"pause":          {words: "pause", do: by("pause", "", nil), states: only(cluster.VMActive)},
	"unpause":        {words: "unpause", do: by("unpause", "", nil), states: only(cluster.VMPaused)},
	"suspend":        {words: "suspend", do: by("suspend", "", nil), states: only(cluster.VMActive)},
	"resume":         {words: "resume", do: by("resume", "", nil), states: only(cluster.VMSuspended)},
	"resize":         {words: "resize", do: by("resize", "", object{"flavorRef": micro}), states: cold},
	"confirm resize": {words: "confirmResize", do: by("confirmResize", "", nil), states: only(cluster.VMResized)},
	"revert resize":  {words: "revertResize", do: by("revertResize", "", nil), states: only(cluster.VMResized)},
	"migrate":        {words: "migrate", do: by("migrate", "", nil), states: cold, admin: true},
	"live migrate": {words: "os-migrateLive", do: by("os-migrateLive", "2.30", object{"host": nil, "block_migration": "auto"}),
		states: only(cluster.VMActive, cluster.VMPaused), admin: true},
	"evacuate": {words: "evacuate", states: gone, tasks: anyTask, admin: true,
		do: func(l *inside, token string, id cluster.InstanceID) *answer {
			l.down = true
			defer func() { l.down = false }()
			return l.act(token, "2.30", id, object{"evacuate": object{}})
		}},
	"rescue":   {words: "rescue", do: by("rescue", "", nil), states: broken},
	"unrescue": {words: "unrescue", do: by("unrescue", "", nil), states: only(cluster.VMRescued)},
	"rebuild": {words: "rebuild", states: broken, do: func(l *inside, token string, id cluster.InstanceID) *answer {
		return l.act(token, "", id, object{"rebuild": object{"imageRef": l.image}})
	}},
	"create image": {words: "createImage", do: by("createImage", "", object{"name": "i"}), states: living, locked: true},
	"create backup": {words: "createBackup", states: living, locked: true,
		do: by("createBackup", "", object{"name": "b", "backup_type": "daily", "rotation": 1})},
	"shelve":             {words: "shelve", do: by("shelve", "", nil), states: living},
	"offload":            {words: "shelveOffload", do: by("shelveOffload", "", nil), states: only(cluster.VMShelved), admin: true},
	"unshelve":           {words: "unshelve", do: by("unshelve", "", nil), states: only(cluster.VMOffloaded)},
	"restore":            {words: "restore", do: by("restore", "", nil), states: only(cluster.VMSoftDeleted)},
	"set password":       {words: "changePassword", do: by("changePassword", "", object{"adminPass": "x"}), states: only(cluster.VMActive)},
	"trigger crash dump": {words: "trigger_crash_dump", do: by("trigger_crash_dump", "2.17", nil), states: crashes},
	"lock":               {words: "lock", do: by("lock", "", nil), tasks: anyTask, locked: true},
	"unlock":             {words: "unlock", do: by("unlock", "", nil), tasks: anyTask, locked: true},
	"delete":             {words: "delete", do: at("DELETE", "", "", nil), tasks: anyTask},
	"force delete":       {words: "forceDelete", do: by("forceDelete", "", nil), tasks: anyTask},
	"rename":             {words: "update", do: at("PUT", "", "", object{"server": object{"name": "y"}}), tasks: anyTask, locked: true},
	"add metadata": {words: "update metadata", do: at("POST", "/metadata", "", object{"metadata": object{"a": "b"}}),
		states: living, tasks: anyTask},
	"replace metadata": {words: "update metadata", do: at("PUT", "/metadata", "", object{"metadata": object{"k": "w"}}),
		states: living, tasks: anyTask},
	"set metadata":    {words: "update metadata", do: at("PUT", "/metadata/k", "", object{"meta": object{"k": "w"}}), states: living, tasks: anyTask},
	"delete metadata": {words: "delete metadata", do: at("DELETE", "/metadata/k", "", nil), states: living, tasks: anyTask},
	"add tag":         {words: "update tag", do: at("PUT", "/tags/u", "2.26", nil), states: living, tasks: anyTask, locked: true},
	"replace tags": {words: "update tags", do: at("PUT", "/tags", "2.26", object{"tags": []string{"t"}}),
		states: living, tasks: anyTask, locked: true},
	"delete tag":  {words: "delete tag", do: at("DELETE", "/tags/t", "2.26", nil), states: living, tasks: anyTask, locked: true},
	"delete tags": {words: "delete tags", do: at("DELETE", "/tags", "2.26", nil), states: living, tasks: anyTask, locked: true},
	"attach volume": {words: "attach_volume", states: volumed, do: func(l *inside, token string, id cluster.InstanceID) *answer {
		return at("POST", "/os-volume_attachments", "2.60", object{"volumeAttachment": object{"volumeId": l.volume("demo", "shared", nil)}})(l, token, id)
	}},
	"detach volume": {words: "detach_volume", states: volumed, do: func(l *inside, token string, id cluster.InstanceID) *answer {
		return at("DELETE", "/os-volume_attachments/"+string(l.mine(id)), "2.60", nil)(l, token, id)
	}},
	"keep volume": {words: "update", tasks: anyTask, locked: true, do: func(l *inside, token string, id cluster.InstanceID) *answer {
		v := l.mine(id)
		return at("PUT", "/os-volume_attachments/"+string(v), "2.85",
			object{"volumeAttachment": object{"volumeId": v, "delete_on_termination": false}})(l, token, id)
	}},
	"attach interface": {words: "attach_interface", states: carded, do: func(l *inside, token string, id cluster.InstanceID) *answer {
		return at("POST", "/os-interface", "", object{"interfaceAttachment": object{"net_id": l.network}})(l, token, id)
	}},
	"detach interface": {words: "detach_interface", states: carded, do: func(l *inside, token string, id cluster.InstanceID) *answer {
		return at("DELETE", "/os-interface/"+string(l.instance(id).Ports[0]), "", nil)(l, token, id)
	}},
	"add address": {words: "addFixedIp", tasks: anyTask, do: func(l *inside, token string, id cluster.InstanceID) *answer {
		return l.act(token, "", id, object{"addFixedIp": object{"networkId": l.network}})
	}},
}

// mine is the volume of a server.
func (l *inside) mine(id cluster.InstanceID) cluster.VolumeID {
	l.t.Helper()
	for v := range l.Local().VolumesOf(id) {
		return v.ID
	}
	l.t.Fatalf("%s has no volume", id)
	return ""
}

// stage is a state and a task that a server can be in.
type stage struct {
	vm   cluster.VMState
	task cluster.TaskState
	do   func(l *inside, id cluster.InstanceID) // begins the task; nil: nothing has to be done
}

// stages are all of them. Tasks begin in a server that is in the state.
var stages = []stage{
	{cluster.VMActive, "", nil}, {cluster.VMStopped, "", nil}, {cluster.VMPaused, "", nil}, {cluster.VMSuspended, "", nil},
	{cluster.VMRescued, "", nil}, {cluster.VMError, "", nil}, {cluster.VMResized, "", nil}, {cluster.VMOffloaded, "", nil},
	{cluster.VMSoftDeleted, "", nil},
	{cluster.VMBuilding, cluster.TaskScheduling, nil}, {cluster.VMBuilding, cluster.TaskSpawning, nil},
	{cluster.VMActive, cluster.TaskPoweringOff, acting("os-stop", nil)},
	{cluster.VMStopped, cluster.TaskPoweringOn, acting("os-start", nil)},
	{cluster.VMActive, cluster.TaskRebooting, acting("reboot", object{"type": "SOFT"})},
	{cluster.VMActive, cluster.TaskRebootHard, acting("reboot", object{"type": "HARD"})},
	{cluster.VMStopped, cluster.TaskRebootHard, acting("reboot", object{"type": "HARD"})},
	{cluster.VMActive, cluster.TaskPausing, acting("pause", nil)},
	{cluster.VMPaused, cluster.TaskUnpausing, acting("unpause", nil)},
	{cluster.VMActive, cluster.TaskSuspending, acting("suspend", nil)},
	{cluster.VMSuspended, cluster.TaskResuming, acting("resume", nil)},
	{cluster.VMActive, cluster.TaskRebuilding, func(l *inside, id cluster.InstanceID) { deeds["rebuild"].do(l, "admin", id).want(202) }},
	{cluster.VMError, cluster.TaskRescuing, acting("rescue", nil)},
	{cluster.VMRescued, cluster.TaskUnrescuing, acting("unrescue", nil)},
	{cluster.VMSoftDeleted, cluster.TaskRestoring, acting("restore", nil)},
	{cluster.VMPaused, cluster.TaskSnapshot, acting("createImage", object{"name": "i"})},
	{cluster.VMActive, cluster.TaskBackup, acting("createBackup", object{"name": "b", "backup_type": "daily", "rotation": 1})},
	{cluster.VMActive, cluster.TaskResizePrep, acting("resize", object{"flavorRef": micro})},
	{cluster.VMActive, cluster.TaskResizeMoving, moving(cluster.TaskResizeMoving, "migrate", nil)},
	{cluster.VMStopped, cluster.TaskResizeFinish, moving(cluster.TaskResizeFinish, "migrate", nil)},
	{cluster.VMResized, cluster.TaskResizeRevert, acting("revertResize", nil)},
	{cluster.VMActive, cluster.TaskMigrating, acting("os-migrateLive", object{"host": nil, "block_migration": true, "disk_over_commit": false})},
	{cluster.VMPaused, cluster.TaskMigrating, acting("os-migrateLive", object{"host": nil, "block_migration": true, "disk_over_commit": false})},
	{cluster.VMActive, cluster.TaskShelving, acting("shelve", nil)},
	{cluster.VMOffloaded, cluster.TaskUnshelving, acting("unshelve", nil)},
	{cluster.VMActive, cluster.TaskDeleting, func(l *inside, id cluster.InstanceID) { deeds["delete"].do(l, "admin", id).want(204) }},
	{cluster.VMError, cluster.TaskDeleting, func(l *inside, id cluster.InstanceID) { deeds["delete"].do(l, "admin", id).want(204) }},
}

// acting asks for an action and leaves it under way.
func acting(name string, body any) func(*inside, cluster.InstanceID) {
	return func(l *inside, id cluster.InstanceID) {
		if a := l.act("admin", "", id, object{name: body}); a.StatusCode >= 300 {
			l.t.Fatalf("%s: %s", name, a.body)
		}
	}
}

// moving does an operation's steps until it has a task.
func moving(task cluster.TaskState, name string, body any) func(*inside, cluster.InstanceID) {
	return func(l *inside, id cluster.InstanceID) {
		acting(name, body)(l, id)
		for in := l.instance(id); in.Status.Task != task; in = l.instance(id) {
			if in.Op.Step == cluster.StepPlacing {
				l.Must(&cluster.PlaceMove{ID: id, Operation: in.Op.ID, Node: l.other.ID})
			} else {
				l.Must(&cluster.AdvanceOperation{Node: in.Executor(), ID: id, Operation: in.Op.ID, Step: in.Op.Step, Done: true})
			}
		}
	}
}
