package compute_test

import (
	"net/http"
	"testing"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/rest"
)

// crowd fills a project with servers that run, each with an address.
func (l *lab) crowd(project string, n int) {
	l.t.Helper()
	l.Must(&cluster.PutQuota{Quota: cluster.Quota{Project: l.Projs[project], Limits: map[cluster.QuotaName]int64{
		cluster.QuotaInstances: -1, cluster.QuotaCores: -1, cluster.QuotaRAM: -1, cluster.QuotaPorts: -1,
	}}})
	node := l.Node
	node.Capacity = cluster.Capacity{VCPUs: 1 << 20, MemoryMiB: 1 << 30, DiskGiB: 1 << 30, VCPURatio: 4000, MemoryRatio: 1000, DiskRatio: 1000}
	l.Must(&cluster.UpdateNode{Node: node})
	net, sub := cluster.NetworkID(rest.NewUUID()), cluster.SubnetID(rest.NewUUID())
	l.Must(&cluster.PutNetwork{Network: cluster.Network{ID: net, Project: l.Projs[project], Name: "big-" + project, Physical: "lan", MTU: 1500, PortSecurity: true}})
	l.Must(&cluster.PutSubnet{Subnet: cluster.Subnet{ID: sub, Project: l.Projs[project], Network: net, CIDR: "10.0.0.0/8", Gateway: "10.0.0.1",
		Pools: []cluster.AddressPool{{Start: "10.0.0.2", End: "10.255.255.254"}}}})
	flavor, _ := l.Local().Flavor(nano)
	const together = 500
	for n > 0 {
		op := &cluster.CreateInstances{Request: "req", Project: l.Projs[project], User: l.Users[project], Spec: cluster.Spec{
			Name: "s", Hostname: "s", Image: l.image, Flavor: *flavor, Metadata: map[string]string{"role": "web", "tier": "1"}, KeyName: "k",
		}}
		for range min(n, together) {
			op.Items = append(op.Items, cluster.NewInstance{ID: cluster.InstanceID(rest.NewUUID()), Name: "server-name", Hostname: "s", Node: l.Node.ID,
				Ports: []cluster.NewPort{{New: &cluster.Port{ID: cluster.PortID(rest.NewUUID()), Network: net, MAC: randomMAC(), PortSecurity: true}}}})
		}
		reports := &cluster.ReportInstances{Node: l.Node.ID}
		for _, id := range l.Must(op).IDs {
			reports.Reports = append(reports.Reports, cluster.InstanceReport{ID: cluster.InstanceID(id), Generation: 1, Epoch: 1, Power: cluster.PowerRunning})
		}
		l.Must(reports)
		n -= together
	}
}

func randomMAC() string {
	id := rest.NewUUID()
	return "fa:" + id[0:2] + ":" + id[2:4] + ":" + id[4:6] + ":" + id[6:8] + ":" + id[24:26]
}

// The goal is at most 20 ms of CPU for a thousand servers.
func BenchmarkServersDetail1000(b *testing.B) {
	l := newLab(b)
	l.crowd("demo", 1000)
	for b.Loop() {
		l.do("demo", "2.96", "GET", "/servers/detail", nil).want(http.StatusOK)
	}
}

// A page costs the same whether there are a thousand servers or twenty thousand.
func BenchmarkServersPageOf50(b *testing.B) {
	for _, n := range []int{1000, 20000} {
		b.Run("of="+itoa(n), func(b *testing.B) {
			l := newLab(b)
			l.crowd("demo", n)
			first := l.do("demo", "", "GET", "/servers?limit=500", nil)
			marker := first.text("servers", 499, "id")
			for b.Loop() {
				l.do("demo", "2.96", "GET", "/servers/detail?limit=50&marker="+marker, nil).want(http.StatusOK)
			}
		})
	}
}

// What a create costs before it is agreed upon, and to apply.
func BenchmarkServersCreate(b *testing.B) {
	l := newLab(b)
	l.crowd("demo", 1)
	body := l.request("x", nil)
	for b.Loop() {
		l.do("demo", "2.96", "POST", "/servers", body).want(http.StatusAccepted)
	}
}
