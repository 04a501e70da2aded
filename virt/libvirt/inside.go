package libvirt

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	rpc "github.com/digitalocean/go-libvirt"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/virt"
)

// Dial connects to a console of a running domain, over a UNIX socket of QEMU's. A serial port serves one at a time:
// whoever comes next waits until the one before has gone.
func (d *Driver) Dial(ctx context.Context, id cluster.InstanceID, c virt.ConsoleKind) (net.Conn, error) {
	conn, err := d.dial(ctx, id, c)
	if err != nil {
		return nil, fmt.Errorf("connect to %s console of %s: %w", c, id, err)
	}
	return conn, nil
}

func (d *Driver) dial(ctx context.Context, id cluster.InstanceID, c virt.ConsoleKind) (net.Conn, error) {
	dom, err := d.needRunning(ctx, id)
	if err != nil {
		return nil, err
	}
	v, err := d.look(ctx, dom, 0)
	if err != nil {
		return nil, err
	}
	path := v.socket(c)
	if path == "" {
		return nil, fmt.Errorf("%w: the guest has none that can be connected to", virt.ErrUnsupported)
	}
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "unix", d.seen(path))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", virt.ErrUnavailable, err)
	}
	return conn, nil
}

// socket gives the path of a console's socket, or "".
func (v domainView) socket(c virt.ConsoleKind) string {
	switch {
	case c == virt.ConsoleSerial && len(v.Serials) > 0 && v.Serials[0].Type == "unix":
		return v.Serials[0].Source.Path
	case c == virt.ConsoleVNC:
		for _, g := range v.Graphics {
			if g.Type == "vnc" {
				return g.Listen.Socket
			}
		}
	}
	return ""
}

// seen gives the path under which this process sees a socket that libvirtd named.
func (d *Driver) seen(path string) string {
	if d.chroot == "" || strings.HasPrefix(path, d.cfg.DataDir) {
		return path
	}
	return d.chroot + path
}

// SetPassword sets a user's password through the guest agent.
func (d *Driver) SetPassword(ctx context.Context, id cluster.InstanceID, user, password string) error {
	dom, err := d.needRunning(ctx, id)
	if err == nil {
		err = d.setPassword(ctx, dom, user, password)
	}
	if err != nil {
		return fmt.Errorf("set password in %s: %w", id, err)
	}
	return nil
}

func (d *Driver) setPassword(ctx context.Context, dom rpc.Domain, user, password string) error {
	v, err := d.look(ctx, dom, 0)
	if err != nil {
		return err
	}
	if !v.agent() {
		return fmt.Errorf("%w: it has no guest agent that listens", virt.ErrUnsupported)
	}
	err = tell(ctx, d.rpc, "set user's password", func(l *rpc.Libvirt) error {
		return l.DomainSetUserPassword(dom, rpc.OptString{user}, rpc.OptString{password}, 0)
	})
	if hasCode(err, rpc.ErrAgentUnresponsive) || hasCode(err, rpc.ErrAgentUnsynced) {
		return fmt.Errorf("%w: %w", virt.ErrUnsupported, err)
	}
	return err
}

// Crash sends the guest a non-maskable interrupt.
func (d *Driver) Crash(ctx context.Context, id cluster.InstanceID) error {
	dom, err := d.needRunning(ctx, id)
	if err == nil {
		err = tell(ctx, d.rpc, "inject interrupt", func(l *rpc.Libvirt) error { return l.DomainInjectNmi(dom, 0) })
	}
	if err != nil {
		return fmt.Errorf("crash %s: %w", id, err)
	}
	return nil
}

// Diagnostics tells what a running domain uses.
func (d *Driver) Diagnostics(ctx context.Context, id cluster.InstanceID) (cluster.Diagnostics, error) {
	out, err := d.diagnose(ctx, id)
	if err != nil {
		return cluster.Diagnostics{}, fmt.Errorf("diagnose %s: %w", id, err)
	}
	return out, nil
}

func (d *Driver) diagnose(ctx context.Context, id cluster.InstanceID) (cluster.Diagnostics, error) {
	dom, err := d.needRunning(ctx, id)
	if err != nil {
		return cluster.Diagnostics{}, err
	}
	v, err := d.look(ctx, dom, 0)
	if err != nil {
		return cluster.Diagnostics{}, err
	}
	const which = rpc.DomainStatsState | rpc.DomainStatsVCPU | rpc.DomainStatsBalloon | rpc.DomainStatsBlock | rpc.DomainStatsInterface
	records, err := ask(ctx, d.rpc, "ask for statistics", func(l *rpc.Libvirt) ([]rpc.DomainStatsRecord, error) {
		return l.ConnectGetAllDomainStats([]rpc.Domain{dom}, uint32(which), 0)
	})
	if err != nil {
		return cluster.Diagnostics{}, err
	}
	if len(records) != 1 {
		return cluster.Diagnostics{}, virt.ErrNotFound
	}
	out := readStats(v, records[0].Params)
	state, reason := stateOf(records[0].Params)
	p, _ := power(state, reason)
	out.State = stateWord(p)
	out.Uptime = d.uptime(dom)
	return out, nil
}

// qemuRunDir is where libvirtd keeps a file for each QEMU that it started.
const qemuRunDir = "/run/libvirt/qemu"

// uptime gives for how long the domain has been running on this host, or 0 where that cannot be told.
func (d *Driver) uptime(dom rpc.Domain) time.Duration {
	info, err := os.Stat(d.seen(filepath.Join(qemuRunDir, dom.Name+".pid")))
	if err != nil {
		return 0
	}
	return time.Since(info.ModTime())
}

// stateWord gives Nova's word for a power state.
func stateWord(p virt.Power) string {
	switch p {
	case virt.PowerRunning:
		return "running"
	case virt.PowerPaused:
		return "paused"
	case virt.PowerCrashed:
		return "crashed"
	case virt.PowerOff:
		return "shutdown"
	}
	return "pending"
}

// stats are the numbers among a domain's statistics.
type stats map[string]int64

func (s stats) at(prefix string, i int, suffix string) int64 {
	return s[prefix+strconv.Itoa(i)+suffix]
}

// readStats picks what is told out of a domain's statistics.
func readStats(v domainView, params []rpc.TypedParam) cluster.Diagnostics {
	s, names := stats{}, map[string]string{}
	for _, p := range params {
		switch n := p.Value.I.(type) {
		case uint64:
			s[p.Field] = int64(n)
		case uint32:
			s[p.Field] = int64(n)
		case int32:
			s[p.Field] = int64(n)
		case int64:
			s[p.Field] = n
		case string:
			names[p.Field] = n
		}
	}
	const perMiB = 1024 // libvirt counts in KiB
	out := cluster.Diagnostics{MemoryMaxMiB: s[rpc.DomainStatsBalloonMaximum] / perMiB}
	if available := s[rpc.DomainStatsBalloonAvailable]; available > 0 {
		out.MemoryUsedMiB = (available - s[rpc.DomainStatsBalloonUnused]) / perMiB
	} else {
		out.MemoryUsedMiB = s[rpc.DomainStatsBalloonCurrent] / perMiB
	}
	for i := range int(s[rpc.DomainStatsVCPUCurrent]) {
		out.CPUs = append(out.CPUs, time.Duration(s.at(rpc.DomainStatsVCPUPrefix, i, rpc.DomainStatsVCPUSuffixTime)))
	}
	for i := range int(s[rpc.DomainStatsBlockCount]) {
		name := names[rpc.DomainStatsBlockPrefix+strconv.Itoa(i)+rpc.DomainStatsBlockSuffixName]
		if at := slices.IndexFunc(v.Disks, func(d diskView) bool { return d.Target.Dev == name }); at >= 0 {
			out.Disks = append(out.Disks, diskStats(s, i, v.Disks[at]))
		}
	}
	for i := range int(s[rpc.DomainStatsNetCount]) {
		name := names[rpc.DomainStatsNetPrefix+strconv.Itoa(i)+rpc.DomainStatsNetSuffixName]
		if at := slices.IndexFunc(v.NICs, func(n nicView) bool { return n.Target.Dev == name }); at >= 0 {
			out.NICs = append(out.NICs, nicStats(s, i, v.NICs[at].MAC.Address))
		}
	}
	return out
}

func diskStats(s stats, i int, d diskView) cluster.DiskDiagnostics {
	const block = rpc.DomainStatsBlockPrefix
	return cluster.DiskDiagnostics{
		ID:            string(d.id()),
		ReadBytes:     s.at(block, i, rpc.DomainStatsBlockSuffixRdBytes),
		ReadRequests:  s.at(block, i, rpc.DomainStatsBlockSuffixRdReqs),
		WriteBytes:    s.at(block, i, rpc.DomainStatsBlockSuffixWrBytes),
		WriteRequests: s.at(block, i, rpc.DomainStatsBlockSuffixWrReqs),
		Errors:        s.at(block, i, rpc.DomainStatsBlockSuffixErrors),
	}
}

// nicStats turns the host's side of a card into the guest's: libvirt counts it so already for bridges.
func nicStats(s stats, i int, mac string) cluster.NICDiagnostics {
	const net = rpc.DomainStatsNetPrefix
	return cluster.NICDiagnostics{
		MAC:      mac,
		RxOctets: s.at(net, i, rpc.DomainStatsNetSuffixRxBytes), RxPackets: s.at(net, i, rpc.DomainStatsNetSuffixRxPkts),
		RxErrors: s.at(net, i, rpc.DomainStatsNetSuffixRxErrs), RxDrops: s.at(net, i, rpc.DomainStatsNetSuffixRxDrop),
		TxOctets: s.at(net, i, rpc.DomainStatsNetSuffixTxBytes), TxPackets: s.at(net, i, rpc.DomainStatsNetSuffixTxPkts),
		TxErrors: s.at(net, i, rpc.DomainStatsNetSuffixTxErrs), TxDrops: s.at(net, i, rpc.DomainStatsNetSuffixTxDrop),
	}
}
