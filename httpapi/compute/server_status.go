package compute

import (
	"slices"
	"strings"

	"github.com/kilonova/kilonova/cluster"
)

// statusOf is Nova's one-word status of a server, made of its vm_state and task_state (nova.api.openstack.common).
func statusOf(in *cluster.Instance) string {
	if in.Deleted {
		return "DELETED"
	}
	if s, ok := taskStatuses[in.Status.VM][in.Status.Task]; ok {
		return s
	}
	if s, ok := vmStatuses[in.Status.VM]; ok {
		return s
	}
	return "UNKNOWN"
}

// vmStatuses is the status of each vm_state while no task changes it.
var vmStatuses = map[cluster.VMState]string{
	cluster.VMActive: "ACTIVE", cluster.VMBuilding: "BUILD", cluster.VMStopped: "SHUTOFF", cluster.VMPaused: "PAUSED",
	cluster.VMSuspended: "SUSPENDED", cluster.VMRescued: "RESCUE", cluster.VMResized: "VERIFY_RESIZE", cluster.VMShelved: "SHELVED",
	cluster.VMOffloaded: "SHELVED_OFFLOADED", cluster.VMSoftDeleted: "SOFT_DELETED", cluster.VMError: "ERROR", cluster.VMDeleted: "DELETED",
}

// taskStatuses are the statuses of a vm_state while something is under way.
var taskStatuses = map[cluster.VMState]map[cluster.TaskState]string{
	cluster.VMActive: {
		cluster.TaskRebooting: "REBOOT", cluster.TaskRebootHard: "HARD_REBOOT", cluster.TaskRebuilding: "REBUILD",
		cluster.TaskMigrating: "MIGRATING", cluster.TaskResizePrep: "RESIZE", cluster.TaskResizeMoving: "RESIZE",
		cluster.TaskResizeFinish: "RESIZE",
	},
	cluster.VMStopped: {
		cluster.TaskRebuilding: "REBUILD", cluster.TaskResizePrep: "RESIZE", cluster.TaskResizeMoving: "RESIZE",
		cluster.TaskResizeFinish: "RESIZE",
	},
	cluster.VMResized: {cluster.TaskResizeRevert: "REVERT_RESIZE"},
	cluster.VMPaused:  {cluster.TaskMigrating: "MIGRATING"},
	cluster.VMError:   {cluster.TaskRebuilding: "REBUILD"},
}

// knownStatuses are the statuses that Nova has; a filter for any other finds nothing.
var knownStatuses = []string{"ACTIVE", "BUILD", "DELETED", "ERROR", "HARD_REBOOT", "MIGRATING", "PASSWORD", "PAUSED", "REBOOT", "REBUILD",
	"RESCUE", "RESIZE", "REVERT_RESIZE", "SHELVED", "SHELVED_OFFLOADED", "SHUTOFF", "SOFT_DELETED", "SUSPENDED", "UNKNOWN", "VERIFY_RESIZE"}

func isStatus(s string) bool { return slices.Contains(knownStatuses, strings.ToUpper(s)) }

// progresses tells whether servers of a status show how far they are.
func progresses(status string) bool {
	switch status {
	case "ACTIVE", "BUILD", "REBUILD", "RESIZE", "VERIFY_RESIZE", "MIGRATING":
		return true
	}
	return false
}

// vmStateOf is the vm_state, which a server that is gone shows as deleted whatever it was.
func vmStateOf(in *cluster.Instance) cluster.VMState {
	if in.Deleted {
		return cluster.VMDeleted
	}
	return in.Status.VM
}

// powerOf is the power_state; a server that is gone has none.
func powerOf(in *cluster.Instance) cluster.PowerState {
	if in.Deleted {
		return cluster.PowerNoState
	}
	return in.Status.Power
}
