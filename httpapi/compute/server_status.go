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
	switch in.Status.VM {
	case cluster.VMActive:
		switch in.Status.Task {
		case cluster.TaskRebooting:
			return "REBOOT"
		case cluster.TaskRebootHard:
			return "HARD_REBOOT"
		}
		return "ACTIVE"
	case cluster.VMBuilding:
		return "BUILD"
	case cluster.VMStopped:
		return "SHUTOFF"
	case cluster.VMPaused:
		return "PAUSED"
	case cluster.VMError:
		return "ERROR"
	case cluster.VMDeleted:
		return "DELETED"
	}
	return "UNKNOWN"
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
