package node

import (
	"bufio"
	"os"
	"strconv"
	"strings"

	"github.com/kilonova/kilonova/gossip"
	"github.com/kilonova/kilonova/virt"
)

// diskFullBelow is how little room is too little for another guest's disk to grow in.
const diskFullBelow = 1 // GiB

// load says how busy this machine is. What cannot be read counts as not busy.
func load(h virt.Host) gossip.Load {
	l := gossip.Load{
		IOPressure:     pressure("/proc/pressure/io"),
		MemoryPressure: pressure("/proc/pressure/memory"),
		MemoryFree:     freeMemory(),
	}
	if h.DiskGiB > 0 {
		l.DiskFree = uint8(min(100, 100*h.DiskFreeGiB/h.DiskGiB))
		l.DiskFull = h.DiskFreeGiB < diskFullBelow
	}
	return l
}

// pressure reads the share of the last 60 s in which something had to wait, in per cent: "some avg60" of the kernel's
// pressure stall information.
func pressure(path string) uint8 {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	line, _, _ := strings.Cut(string(b), "\n")
	for _, field := range strings.Fields(line) {
		if v, ok := strings.CutPrefix(field, "avg60="); ok {
			f, err := strconv.ParseFloat(v, 64)
			if err == nil && f >= 0 && f <= 100 {
				return uint8(f)
			}
		}
	}
	return 0
}

// freeMemory is MemAvailable of MemTotal in per cent, from proc(5)'s meminfo.
func freeMemory() uint8 {
	f, err := os.Open("/proc/meminfo")
	if err != nil {
		return 100
	}
	defer f.Close()
	var total, available int64
	for s := bufio.NewScanner(f); s.Scan(); {
		fields := strings.Fields(s.Text())
		if len(fields) < 2 {
			continue
		}
		switch fields[0] {
		case "MemTotal:":
			total, _ = strconv.ParseInt(fields[1], 10, 64)
		case "MemAvailable:":
			available, _ = strconv.ParseInt(fields[1], 10, 64)
		}
	}
	if total <= 0 {
		return 100
	}
	return uint8(min(100, 100*available/total))
}
