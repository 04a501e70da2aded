package node

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/gossip"
)

// meters count what this node does. No label has a value that a client can choose freely.
type meters struct {
	requests   *prometheus.HistogramVec // by service, method, status
	proposals  *prometheus.HistogramVec // by op, outcome
	placements *prometheus.CounterVec   // by outcome
}

// Outcomes, as labels say them.
const (
	outcomeDone    = "done"
	outcomeRefused = "refused"
	outcomeUnknown = "unknown"
	outcomePlaced  = "placed"
	outcomeNoRoom  = "no_room"
)

func newMeters(r prometheus.Registerer) *meters {
	m := &meters{
		requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "kilonova_http_request_seconds", Help: "Requests that were answered, and how long that took.",
			Buckets: prometheus.ExponentialBuckets(0.001, 4, 7),
		}, []string{"service", "method", "status"}),
		proposals: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "kilonova_propose_seconds", Help: "Changes that this node asked for, until they were agreed upon and applied here.",
			Buckets: prometheus.ExponentialBuckets(0.001, 4, 7),
		}, []string{"op", "outcome"}),
		placements: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kilonova_placements_total", Help: "Choices of a node for an instance that this node made as the leader.",
		}, []string{"outcome"}),
	}
	r.MustRegister(m.requests, m.proposals, m.placements, // the names are our own: a clash is a bug of ours
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// methods are those that a label may name.
var methods = map[string]bool{
	http.MethodGet: true, http.MethodHead: true, http.MethodPost: true, http.MethodPut: true, http.MethodPatch: true, http.MethodDelete: true,
	http.MethodOptions: true,
}

// Observe implements rest.Observer.
func (m *meters) Observe(service, method string, status int, took time.Duration) {
	if !methods[method] {
		method = "other"
	}
	m.requests.WithLabelValues(service, method, strconv.Itoa(status)).Observe(took.Seconds())
}

// proposed counts a proposal, by what came of it.
func (m *meters) proposed(op cluster.Op, err error, took time.Duration) {
	outcome := outcomeDone
	switch {
	case err == nil:
	case retryable(err):
		outcome = outcomeUnknown
	default:
		outcome = outcomeRefused
	}
	m.proposals.WithLabelValues(strings.TrimPrefix(fmt.Sprintf("%T", op), "*cluster."), outcome).Observe(took.Seconds())
}

// chosen counts a choice of the leader.
func (m *meters) chosen(id cluster.NodeID) {
	outcome := outcomePlaced
	if id == "" {
		outcome = outcomeNoRoom
	}
	m.placements.WithLabelValues(outcome).Inc()
}

// What a look at the state tells.
var (
	nodesDesc     = prometheus.NewDesc("kilonova_nodes", "Nodes of the cluster, by whether gossip hears of them.", []string{"state"}, nil)
	instancesDesc = prometheus.NewDesc("kilonova_instances", "Instances of the cluster, by state.", []string{"state"}, nil)
	hereDesc      = prometheus.NewDesc("kilonova_node_instances", "Instances placed on this node.", nil, nil)
	usedDesc      = prometheus.NewDesc("kilonova_node_allocated", "What instances on this node were promised.", []string{"resource"}, nil)
	limitDesc     = prometheus.NewDesc("kilonova_node_limit", "The most that instances on this node may be promised.", []string{"resource"}, nil)
	gravesDesc    = prometheus.NewDesc("kilonova_node_removals_pending", "Instances whose disks this node has yet to remove.", nil, nil)
	strangeDesc   = prometheus.NewDesc("kilonova_node_quarantined", "Domains on this node that nothing explains.", nil, nil)
)

// census counts what is in the state when it is asked.
type census struct{ members *members }

// Describe implements prometheus.Collector.
func (c census) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{nodesDesc, instancesDesc, hereDesc, usedDesc, limitDesc, gravesDesc, strangeDesc} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (c census) Collect(out chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, n int64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(n), labels...)
	}
	view, self := c.members.agreement.Local(), c.members.self
	up, all := int64(1), int64(0)
	for range view.Nodes() {
		all++
	}
	for _, g := range c.members.gossip.Members() {
		if _, ok := view.Node(g.ID); ok && g.ID != self && g.State == gossip.Alive {
			up++
		}
	}
	gauge(nodesDesc, up, "up")
	gauge(nodesDesc, max(0, all-up), "down")
	states, here := map[cluster.VMState]int64{cluster.VMActive: 0, cluster.VMError: 0}, int64(0)
	for in := range view.Instances() {
		states[in.Status.VM]++
		if in.Node == self {
			here++
		}
	}
	for state, n := range states {
		gauge(instancesDesc, n, string(state))
	}
	gauge(hereDesc, here)
	graves := int64(0)
	for range view.TombstonesOn(self) {
		graves++
	}
	gauge(gravesDesc, graves)
	if n, ok := view.Node(self); ok {
		used, limit := view.Allocated(self), n.Capacity.Limit()
		for d, r := range map[*prometheus.Desc]cluster.Resources{usedDesc: used, limitDesc: limit} {
			gauge(d, r.VCPUs, "vcpus")
			gauge(d, r.MemoryMiB, "memory_mib")
			gauge(d, r.DiskGiB, "disk_gib")
		}
		gauge(strangeDesc, int64(len(n.Host.Quarantine)))
	}
}
