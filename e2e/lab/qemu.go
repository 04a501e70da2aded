package lab

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// QEMU is a guest's process as /proc shows it, whatever libvirt or kilonova believe.
type QEMU struct {
	Host     string
	UUID     string // the guest's, from -uuid
	Domain   string // the libvirt domain's name, from -name
	PID      int    // as the machine sees it
	Incoming bool   // it was started to receive a migration
}

// QEMUs returns every QEMU process with a guest UUID inside the lab's hosts, in the order of hosts and PIDs.
// QEMU's image lock works across the hosts, because they share a kernel, and hides mistakes that real hosts
// would suffer from, so a test that cares counts these.
func (l *Lab) QEMUs() ([]QEMU, error) {
	var all []QEMU
	for _, h := range l.Hosts() {
		found, err := h.QEMUs()
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	return all, nil
}

// QEMUs returns the QEMU processes of one host. A host without power has none.
func (h *Host) QEMUs() ([]QEMU, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ns == nil {
		return nil, nil
	}
	home, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", h.ns.pid()))
	if err != nil {
		return nil, fmt.Errorf("list QEMUs of %s: %w", h.Name, err)
	}
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, fmt.Errorf("list QEMUs of %s: %w", h.Name, err)
	}
	var found []QEMU
	for _, d := range dirs {
		// A process that ends meanwhile has no links and no command line: it does not count.
		if ns, err := os.Readlink(d + "/ns/pid"); err != nil || ns != home {
			continue
		}
		line, err := os.ReadFile(d + "/cmdline")
		if err != nil {
			continue
		}
		q, ok := parseQEMU(line)
		if !ok {
			continue
		}
		q.Host = h.Name
		q.PID, _ = strconv.Atoi(filepath.Base(d))
		found = append(found, q)
	}
	slices.SortFunc(found, func(a, b QEMU) int { return a.PID - b.PID })
	return found, nil
}

// parseQEMU reads a command line as /proc/<pid>/cmdline gives it. It reports false for other programs, and for
// a QEMU without a guest, such as libvirt's probes.
func parseQEMU(cmdline []byte) (QEMU, bool) {
	argv := strings.Split(string(bytes.TrimSuffix(cmdline, []byte{0})), "\x00")
	if !strings.HasPrefix(filepath.Base(argv[0]), "qemu-system-") {
		return QEMU{}, false
	}
	var q QEMU
	for i, a := range argv[1:] {
		value := ""
		if i+2 < len(argv) {
			value = argv[i+2]
		}
		switch a {
		case "-uuid":
			q.UUID = value
		case "-name":
			q.Domain = domainName(value)
		case "-incoming":
			q.Incoming = true
		}
	}
	return q, q.UUID != ""
}

// domainName reads -name's value: "guest=web-1,debug-threads=on" or just a name.
func domainName(value string) string {
	first, _, _ := strings.Cut(value, ",")
	return strings.TrimPrefix(first, "guest=")
}
