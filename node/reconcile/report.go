package reconcile

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/virt"
)

// reported is what the loop told about an instance, and at which revision: the same is not told twice.
type reported struct {
	revision uint64
	report   cluster.InstanceReport
}

// running reports an instance that was just started.
func running(in *cluster.Instance) cluster.InstanceReport {
	return cluster.InstanceReport{ID: in.ID, Generation: in.Generation, Epoch: in.Epoch, Power: cluster.PowerRunning, Boot: in.Boot}
}

// tell reports what was observed when the state says otherwise. That a guest is off which went down with its host, or for want of a
// lease, and is to be started again, would be mistaken for a guest that powered itself off.
func (l *Loop) tell(in *cluster.Instance, d virt.Domain, m *memory) {
	_, resume := l.resume[in.ID]
	if d.Stamp.Epoch != in.Epoch || !on(d) && (resume || l.fenced(in)) {
		return
	}
	r := cluster.InstanceReport{ID: in.ID, Generation: d.Stamp.Generation, Epoch: d.Stamp.Epoch, Power: powerOf(d), Boot: m.boot}
	if r.Boot == 0 {
		r.Boot = in.Status.Boot
	}
	if !cluster.ReportChanges(in, r) || m.reported == (reported{in.Revision, r}) {
		return
	}
	m.reported = reported{in.Revision, r}
	l.outbox.put(r)
}

// on tells whether there is a guest in the domain that may run.
func on(d virt.Domain) bool { return d.Power == virt.PowerRunning || d.Power == virt.PowerPaused }

func powerOf(d virt.Domain) cluster.PowerState {
	if d.Saved {
		return cluster.PowerSuspended
	}
	switch d.Power {
	case virt.PowerRunning:
		return cluster.PowerRunning
	case virt.PowerPaused:
		return cluster.PowerPaused
	case virt.PowerOff:
		return cluster.PowerShutdown
	case virt.PowerCrashed:
		return cluster.PowerCrashed
	}
	return cluster.PowerNoState
}

const (
	// maxReports bounds how many reports travel in one command.
	maxReports = 512

	// A report waits this many times as long as the one before it took, at most maxReportPause. The first after a rest waits for nobody;
	// under load each log entry that reports open is one that creates do not share.
	reportShare    = 3
	maxReportPause = 200 * time.Millisecond
)

// outbox sends reports, many in one command, until the state has them. A later report of an instance replaces an
// earlier one that was not sent yet; that its disks of an epoch are gone is news of its own.
type outbox struct {
	node    cluster.NodeID
	cluster Cluster
	log     *slog.Logger
	poke    chan struct{}

	mu      sync.Mutex
	reports map[topic]cluster.InstanceReport
	order   []topic
}

// topic is what a report speaks of.
type topic struct {
	id   cluster.InstanceID
	gone bool
}

func topicOf(r cluster.InstanceReport) topic { return topic{r.ID, r.Gone} }

func newOutbox(node cluster.NodeID, c Cluster, log *slog.Logger) *outbox {
	return &outbox{node: node, cluster: c, log: log, poke: make(chan struct{}, 1), reports: map[topic]cluster.InstanceReport{}}
}

// put queues a report. It never blocks; there is at most one for each topic.
func (o *outbox) put(r cluster.InstanceReport) {
	// All reports of a command have to fit into it: one that is too large would hold up the others for ever.
	r.Step, r.Detail = clip(r.Step), clip(r.Detail)
	o.mu.Lock()
	t := topicOf(r)
	if _, waiting := o.reports[t]; !waiting {
		o.order = append(o.order, t)
	}
	o.reports[t] = r
	o.mu.Unlock()
	select {
	case o.poke <- struct{}{}:
	default:
	}
}

func clip(s string) string {
	if len(s) > maxDetail {
		s = s[:maxDetail]
	}
	return strings.ToValidUTF8(s, "?")
}

// take removes up to maxReports reports, oldest first.
func (o *outbox) take() []cluster.InstanceReport {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := min(len(o.order), maxReports)
	out := make([]cluster.InstanceReport, 0, n)
	for _, t := range o.order[:n] {
		out = append(out, o.reports[t])
		delete(o.reports, t)
	}
	o.order = append([]topic(nil), o.order[n:]...)
	return out
}

// giveBack queues reports again that could not be sent, unless there is newer news by now.
func (o *outbox) giveBack(reports []cluster.InstanceReport) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, r := range reports {
		t := topicOf(r)
		if _, newer := o.reports[t]; newer {
			continue
		}
		o.order = append(o.order, t)
		o.reports[t] = r
	}
}

func (o *outbox) run(ctx context.Context) {
	for {
		reports := o.take()
		if len(reports) == 0 {
			select {
			case <-o.poke:
				continue
			case <-ctx.Done():
				return
			}
		}
		cmd := cluster.Command{Time: cluster.At(time.Now()), Op: &cluster.ReportInstances{Node: o.node, Reports: reports}}
		start := time.Now()
		err := o.comesBy(ctx, PointReport, reports)
		if err == nil {
			_, err = o.cluster.Propose(ctx, cmd)
		}
		if err == nil {
			err = o.comesBy(ctx, PointReported, reports)
		}
		pause := min(reportShare*time.Since(start), maxReportPause)
		if err != nil && ctx.Err() == nil {
			o.log.Warn("report to the cluster", "instances", len(reports), "err", err)
			o.giveBack(reports)
			pause = retryAfter
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
	}
}
