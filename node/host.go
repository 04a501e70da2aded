package node

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// incarnationFile holds the incarnation of the host in which every instance that should run was seen running.
const incarnationFile = "incarnation"

// incarnation names this boot of the host: the kernel's boot ID, and the start time of PID 1, which differs also
// between two lives of a container on one kernel. A domain that is off although it ran before went down with the host
// when the incarnation has changed, and by its guest's own doing when it has not.
func incarnation() string {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return fmt.Sprintf("%s %s", strings.TrimSpace(string(boot)), startOfInit())
}

// startField is the number of starttime in /proc/[pid]/stat.
const startField = 22

// startOfInit is field 22 of /proc/1/stat, in clock ticks since boot (proc(5)).
func startOfInit() string {
	b, err := os.ReadFile("/proc/1/stat")
	if err != nil {
		return ""
	}
	// The second field is the command in parentheses and may hold spaces.
	_, rest, ok := strings.Cut(string(b), ") ")
	fields := strings.Fields(rest)
	if ok && len(fields) > startField-3 {
		return fields[startField-3] // rest begins with field 3
	}
	return ""
}

func (d *dataDir) lastIncarnation() string {
	b, err := os.ReadFile(d.file(incarnationFile))
	if err != nil {
		return "" // the first start: there is nothing to resume
	}
	return string(b)
}

// watchdogs is where the kernel lists them (Documentation/ABI/testing/sysfs-class-watchdog).
const watchdogs = "/sys/class/watchdog"

// hasWatchdog tells whether there is a watchdog in hardware. The kernel's own (softdog) cannot restart a kernel that hangs.
func hasWatchdog() bool {
	entries, err := os.ReadDir(watchdogs)
	if err != nil {
		return false
	}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(watchdogs, e.Name(), "identity"))
		if err == nil && !strings.HasPrefix(string(b), "Software") {
			return true
		}
	}
	return false
}
