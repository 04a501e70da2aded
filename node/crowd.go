package node

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/kilonova/kilonova/httpapi/rest"
)

// crowd makes what lets clients' requests in, and has metrics tell of it.
func (n *node) crowd() *rest.Crowd {
	c := rest.NewCrowd()
	n.metrics.MustRegister(queues{c}) // the names are our own: a clash is a bug of ours
	return c
}

// What the queues in front of the API tell, by class of request.
var (
	seatsDesc    = prometheus.NewDesc("kilonova_admission_seats", "Requests that may be worked on at a time, by the time that they take.", []string{"class"}, nil)
	takenDesc    = prometheus.NewDesc("kilonova_admission_taken", "Requests that are being worked on.", []string{"class"}, nil)
	waitingDesc  = prometheus.NewDesc("kilonova_admission_waiting", "Requests that wait for a seat.", []string{"class"}, nil)
	admittedDesc = prometheus.NewDesc("kilonova_admission_admitted_total", "Requests that were let in.", []string{"class"}, nil)
	waitedDesc   = prometheus.NewDesc("kilonova_admission_waited_seconds_total", "What requests waited that were let in.", []string{"class"}, nil)
	refusedDesc  = prometheus.NewDesc("kilonova_admission_refused_total", "Requests that were sent away: for their lane (429), for all (503), or gone while they waited.",
		[]string{"class", "why"}, nil)
)

// queues tells what a Crowd does.
type queues struct{ crowd *rest.Crowd }

// Describe implements prometheus.Collector.
func (q queues) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{seatsDesc, takenDesc, waitingDesc, admittedDesc, waitedDesc, refusedDesc} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (q queues) Collect(out chan<- prometheus.Metric) {
	tell := func(d *prometheus.Desc, kind prometheus.ValueType, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, kind, v, labels...)
	}
	for _, s := range q.crowd.Stats() {
		class := s.Class.String()
		tell(seatsDesc, prometheus.GaugeValue, float64(s.Seats), class)
		tell(takenDesc, prometheus.GaugeValue, float64(s.Taken), class)
		tell(waitingDesc, prometheus.GaugeValue, float64(s.Waiting), class)
		tell(admittedDesc, prometheus.CounterValue, float64(s.Admitted), class)
		tell(waitedDesc, prometheus.CounterValue, s.Waited.Seconds(), class)
		tell(refusedDesc, prometheus.CounterValue, float64(s.Lanes), class, "lane")
		tell(refusedDesc, prometheus.CounterValue, float64(s.Full), class, "full")
		tell(refusedDesc, prometheus.CounterValue, float64(s.GivenUp), class, "gone")
	}
}
