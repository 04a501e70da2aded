package cluster

import (
	"fmt"
	"strings"
	"testing"
)

func addressesOf(t *testing.T, w *town, id PortID) string {
	t.Helper()
	p, ok := w.s.View().Port(id)
	if !ok {
		t.Fatalf("port %s is not there", id)
	}
	var list []string
	for _, ip := range p.FixedIPs {
		list = append(list, ip.Address)
	}
	return strings.Join(list, " ")
}

func (w *town) port(id string, ips ...FixedIP) *PutPort {
	p := somePort(id, id)
	p.FixedIPs = ips
	return &PutPort{Port: *p}
}

// Ports get the lowest free address, never the gateway's, the network's or the broadcast address, although the pool
// spans them. When the pool is empty they are refused, and what comes free is given again.
func TestPutPort_TakesTheLowestFreeAddress(t *testing.T) {
	w := newTown(t)
	for i := 2; i <= 14; i++ {
		id := fmt.Sprint("p", i)
		w.do(w.port(id))
		if got, want := addressesOf(t, w, PortID(id)), fmt.Sprint("10.0.0.", i); got != want {
			t.Fatalf("port %d has %q, want %s", i, got, want)
		}
	}
	w.refuse(w.port("late"), NoRoom, "No more IP addresses available on network lan.")
	w.do(&DeletePort{ID: "p7"})
	w.do(&DeletePort{ID: "p5"})
	w.do(w.port("x"))
	w.do(w.port("y"))
	if got := addressesOf(t, w, "x") + " " + addressesOf(t, w, "y"); got != "10.0.0.5 10.0.0.7" {
		t.Fatalf("the freed addresses went out as %s", got)
	}
}

// A port asks for one address by name and for more than there are: it gets none, and the next port gets the lowest.
func TestPutPort_RefusedHalfWayGivesEveryAddressBack(t *testing.T) {
	w := newTown(t)
	w.do(w.port("first"))
	ips := []FixedIP{{Subnet: lan4, Address: "10.0.0.3"}}
	for range 12 {
		ips = append(ips, FixedIP{Subnet: lan4})
	}
	w.refuse(w.port("greedy", ips...), NoRoom, "No more IP addresses")
	w.do(w.port("next"))
	if got := addressesOf(t, w, "next"); got != "10.0.0.3" {
		t.Fatalf("the next port has %s", got)
	}
}

func TestPutPort_TakesOneAddressOfEachVersion(t *testing.T) {
	w := newTown(t)
	w.do(&PutSubnet{Subnet: Subnet{
		ID: "lan6", Project: home, Network: lan, CIDR: "fd00::/64", Gateway: "fd00::1",
		Pools: []AddressPool{{Start: "fd00::", End: "fd00::ffff:ffff:ffff:ffff"}},
	}})
	w.do(w.port("p"))
	w.do(w.port("q", FixedIP{Subnet: "lan6"}, FixedIP{Address: "10.0.0.9"}))
	if got := addressesOf(t, w, "p"); got != "10.0.0.2 fd00::2" {
		t.Errorf("p has %s", got)
	}
	if got := addressesOf(t, w, "q"); got != "10.0.0.9 fd00::3" {
		t.Errorf("q has %s", got)
	}
	w.do(&PutNetwork{Network: Network{ID: "bare", Project: home, Name: "bare"}})
	p := somePort("r", "r")
	p.Network = "bare"
	w.do(&PutPort{Port: *p})
	if got := addressesOf(t, w, "r"); got != "" {
		t.Errorf("a port of a network without subnets has %s", got)
	}
}

// Where the numbers end, so does the pool: nothing wraps round to the beginning.
func TestPutPort_PoolAtTheEndOfTheNumbers(t *testing.T) {
	w := newTown(t)
	w.do(&PutNetwork{Network: Network{ID: "edge", Project: home, Name: "edge"}})
	w.do(&PutSubnet{Subnet: Subnet{ID: "e31", Project: home, Network: "edge", CIDR: "255.255.255.254/31",
		Pools: []AddressPool{{Start: "255.255.255.254", End: "255.255.255.255"}}}})
	for i, want := range []string{"255.255.255.254", "255.255.255.255", ""} {
		p := somePort(fmt.Sprint("e", i), fmt.Sprint("e", i))
		p.Network = "edge"
		if want == "" {
			w.refuse(&PutPort{Port: *p}, NoRoom, "No more")
			w.do(&DeletePort{ID: "e1"})
			w.do(&PutPort{Port: *p})
			want = "255.255.255.255"
		} else {
			w.do(&PutPort{Port: *p})
		}
		if got := addressesOf(t, w, p.ID); got != want {
			t.Fatalf("port %d has %s, want %s", i, got, want)
		}
	}
}

func TestPutPort_Refusals(t *testing.T) {
	w := newTown(t)
	w.do(w.port("taken", FixedIP{Subnet: lan4, Address: "10.0.0.9"}))
	w.do(&PutNetwork{Network: Network{ID: "other", Project: home, Name: "other"}})
	w.do(&PutSubnet{Subnet: Subnet{ID: "o4", Project: home, Network: "other", CIDR: "10.9.0.0/24"}})
	w.active("a")
	for name, x := range map[string]struct {
		change func(*Port)
		code   Code
		words  string
	}{
		"address taken":       {func(p *Port) { p.FixedIPs = []FixedIP{{lan4, "10.0.0.9"}} }, Conflict, "10.0.0.9 is in use"},
		"address twice":       {func(p *Port) { p.FixedIPs = []FixedIP{{lan4, "10.0.0.8"}, {lan4, "10.0.0.8"}} }, Conflict, "in use"},
		"network address":     {func(p *Port) { p.FixedIPs = []FixedIP{{lan4, "10.0.0.0"}} }, Invalid, "not a valid IP"},
		"broadcast address":   {func(p *Port) { p.FixedIPs = []FixedIP{{lan4, "10.0.0.15"}} }, Invalid, "not a valid IP"},
		"outside":             {func(p *Port) { p.FixedIPs = []FixedIP{{lan4, "10.0.1.1"}} }, Invalid, "not a valid IP"},
		"outside all":         {func(p *Port) { p.FixedIPs = []FixedIP{{"", "10.7.1.1"}} }, Invalid, "any of the subnets"},
		"no address":          {func(p *Port) { p.FixedIPs = []FixedIP{{lan4, "ten"}} }, Invalid, "not an IP address"},
		"odd spelling":        {func(p *Port) { p.FixedIPs = []FixedIP{{lan4, "::ffff:10.0.0.5"}} }, Invalid, "canonical"},
		"neither":             {func(p *Port) { p.FixedIPs = []FixedIP{{}} }, Invalid, "not a valid IP"},
		"foreign subnet":      {func(p *Port) { p.FixedIPs = []FixedIP{{Subnet: "o4"}} }, Invalid, "invalid subnet"},
		"subnet without pool": {func(p *Port) { p.Network, p.FixedIPs = "other", []FixedIP{{Subnet: "o4"}} }, NoRoom, "No more"},
		"too many":            {func(p *Port) { p.FixedIPs = make([]FixedIP, 17) }, Invalid, "maximum amount"},
		"MAC taken":           {func(p *Port) { p.MAC = somePort("", "taken").MAC }, Conflict, "mac address"},
		"MAC of a group":      {func(p *Port) { p.MAC = "01:00:5e:00:00:01" }, Invalid, "MAC"},
		"MAC in upper case":   {func(p *Port) { p.MAC = "FA:16:3E:00:00:01" }, Invalid, "MAC"},
		"MAC of nobody":       {func(p *Port) { p.MAC = "00:00:00:00:00:00" }, Invalid, "MAC"},
		"MAC cut short":       {func(p *Port) { p.MAC = "fa:16:3e" }, Invalid, "MAC"},
		"no network":          {func(p *Port) { p.Network = "nowhere" }, NotFound, "Network nowhere"},
		"no project":          {func(p *Port) { p.Project = "nobody" }, NotFound, "Could not find project"},
		"ID that is a path":   {func(p *Port) { p.ID = "../x" }, Invalid, "ID"},
		"ID taken":            {func(p *Port) { p.ID = "taken" }, Conflict, "exists already"},
		"old revision":        {func(p *Port) { p.ID, p.Revision = "taken", 1 }, Stale, "in the meantime"},
		"gone meanwhile":      {func(p *Port) { p.Revision = 1 }, NotFound, "could not be found"},
		"NUL in the name":     {func(p *Port) { p.Name = "a\x00b" }, Invalid, "control character"},
		"name too long":       {func(p *Port) { p.Name = strings.Repeat("x", 256) }, Invalid, "longer"},
		"somebody's device":   {func(p *Port) { p.Device = "a" }, Conflict, "only by the compute service"},
	} {
		p := somePort("new", "new")
		x.change(p)
		t.Run(name, func(t *testing.T) {
			w.t = t
			w.refuse(&PutPort{Port: *p}, x.code, x.words)
		})
	}
	w.t = t
	w.do(&PutQuota{Quota: Quota{Project: home, Limits: map[QuotaName]int64{QuotaPorts: 2}}})
	w.refuse(w.port("over"), OverQuota, "Quota exceeded for resources: ['port'].")
	w.refuse(&DeletePort{ID: "nothing"}, NotFound, "Port nothing")
}

// A port of a running instance gets another address: its domain is out of date. Its MAC stays, and so does its owner.
func TestPutPort_ChangeOfABoundPortRaisesTheGeneration(t *testing.T) {
	w := newTown(t)
	generation := w.active("a").Generation
	p, _ := w.s.View().Port("port-a")
	c := p.Clone()
	c.FixedIPs, c.Device, c.DeviceOwner = []FixedIP{{lan4, "10.0.0.11"}}, "", ""
	w.do(&PutPort{Port: *c})
	if got := w.instance("a").Generation; got != generation+1 {
		t.Fatalf("generation is %d", got)
	}
	p, _ = w.s.View().Port("port-a")
	if p.Device != "a" || p.DeviceOwner != "compute:z1" || addressesOf(t, w, "port-a") != "10.0.0.11" {
		t.Fatalf("port is %+v", p)
	}
	c = p.Clone()
	c.MAC = "fa:16:3e:00:00:99"
	w.refuse(&PutPort{Port: *c}, Conflict, "already bound")
	c = p.Clone()
	c.Network = "elsewhere"
	w.refuse(&PutPort{Port: *c}, Invalid, "keeps its network")
	c = p.Clone()
	c.FixedIPs = []FixedIP{{lan4, "10.0.0.15"}}
	w.refuse(&PutPort{Port: *c}, Invalid, "not a valid IP")
	w.do(&DeletePort{ID: "port-a"})
	if in := w.instance("a"); len(in.Ports) != 0 || in.Generation != generation+2 {
		t.Fatalf("instance is %+v", in)
	}
}

func TestPutSubnet_Refusals(t *testing.T) {
	w := newTown(t)
	for name, x := range map[string]struct {
		change func(*Subnet)
		code   Code
		words  string
	}{
		"overlap":            {func(n *Subnet) { n.CIDR = "10.0.0.8/29" }, Conflict, "overlaps"},
		"host bits":          {func(n *Subnet) { n.CIDR = "10.1.0.1/24" }, Invalid, "not a valid IP subnet"},
		"no range":           {func(n *Subnet) { n.CIDR = "lan" }, Invalid, "not a valid IP subnet"},
		"gateway outside":    {func(n *Subnet) { n.Gateway = "10.2.0.1" }, Invalid, "Gateway"},
		"gateway no address": {func(n *Subnet) { n.Gateway = "gw" }, Invalid, "gateway"},
		"pool outside":       {func(n *Subnet) { n.Pools = []AddressPool{{"10.1.0.9", "10.1.1.1"}} }, Invalid, "spans beyond"},
		"pool backwards":     {func(n *Subnet) { n.Pools = []AddressPool{{"10.1.0.9", "10.1.0.8"}} }, Invalid, "not valid"},
		"pools overlap":      {func(n *Subnet) { n.Pools = []AddressPool{{"10.1.0.2", "10.1.0.8"}, {"10.1.0.8", "10.1.0.9"}} }, Conflict, "overlapping"},
		"pool of words":      {func(n *Subnet) { n.Pools = []AddressPool{{"a", "b"}} }, Invalid, "not an IP address"},
		"name server":        {func(n *Subnet) { n.DNS = []string{"dns"} }, Invalid, "name server"},
		"route":              {func(n *Subnet) { n.Routes = []Route{{"x", "10.1.0.1"}} }, Invalid, "not a valid IP subnet"},
		"next hop":           {func(n *Subnet) { n.Routes = []Route{{"10.5.0.0/16", "x"}} }, Invalid, "next hop"},
		"no network":         {func(n *Subnet) { n.Network = "nowhere" }, NotFound, "Network nowhere"},
		"no project":         {func(n *Subnet) { n.Project = "nobody" }, NotFound, "project"},
		"ID taken":           {func(n *Subnet) { n.ID = lan4 }, Conflict, "exists already"},
	} {
		n := Subnet{ID: "new", Project: home, Network: lan, CIDR: "10.1.0.0/24"}
		x.change(&n)
		t.Run(name, func(t *testing.T) {
			w.t = t
			w.refuse(&PutSubnet{Subnet: n}, x.code, x.words)
		})
	}
	w.t = t
	old, _ := w.s.View().Subnet(lan4)
	c := old.Clone()
	c.CIDR, c.Gateway, c.Pools = "10.0.0.0/24", "", nil
	w.refuse(&PutSubnet{Subnet: *c}, Invalid, "keeps its network, its range")
	w.do(&PutQuota{Quota: Quota{Project: home, Limits: map[QuotaName]int64{QuotaSubnets: 1, QuotaNetworks: 1}}})
	w.refuse(&PutSubnet{Subnet: Subnet{ID: "n", Project: home, Network: lan, CIDR: "10.1.0.0/24"}}, OverQuota, "['subnet']")
	w.refuse(&PutNetwork{Network: Network{ID: "n", Project: home}}, OverQuota, "['network']")
}

// Networks on one provider network are one wire. Another project that could choose any range for its own network there
// would take the gateway's address, or that of somebody else's guest. On another wire the range is free, and so
// is what a project does to itself.
func TestPutSubnet_SharesNoAddressWithAnotherProjectOnTheWire(t *testing.T) {
	w := newTown(t)
	w.do(&PutProject{Project: Project{ID: "p2", Name: "two"}})
	for id, n := range map[NetworkID]Network{
		"same": {Project: "p2", Physical: "lan"}, "other": {Project: "p2", Physical: "wan"}, "own": {Project: home, Physical: "lan"},
	} {
		n.ID = id
		w.do(&PutNetwork{Network: n})
	}
	w.refuse(&PutSubnet{Subnet: Subnet{ID: "s1", Project: "p2", Network: "same", CIDR: "10.0.0.0/24"}}, Conflict, "overlaps")
	w.do(&PutSubnet{Subnet: Subnet{ID: "s2", Project: "p2", Network: "same", CIDR: "10.0.1.0/24"}})
	w.refuse(&PutSubnet{Subnet: Subnet{ID: "s3", Project: home, Network: lan, CIDR: "10.0.1.128/25"}}, Conflict, "overlaps")
	w.do(&PutSubnet{Subnet: Subnet{ID: "s4", Project: "p2", Network: "other", CIDR: "10.0.0.0/24"}})
	w.do(&PutSubnet{Subnet: Subnet{ID: "s5", Project: home, Network: "own", CIDR: "10.0.0.0/28"}})

	moved, _ := w.s.View().Network("other")
	c := moved.Clone()
	c.Physical = "lan"
	w.refuse(&PutNetwork{Network: *c}, Conflict, "keeps its physical network")
}

// A network goes with its subnets, but not while somebody has a port on it; nor does a subnet that is in use.
func TestDeleteNetwork_NotWhileItHasPorts(t *testing.T) {
	w := newTown(t)
	w.do(w.port("p"))
	w.refuse(&DeleteNetwork{ID: lan}, Conflict, "id for these ports is: p.")
	w.refuse(&DeleteSubnet{ID: lan4}, Conflict, "One or more ports have an IP allocation")
	n, _ := w.s.View().Network(lan)
	c := n.Clone()
	c.Physical = "wan"
	w.refuse(&PutNetwork{Network: *c}, Conflict, "keeps its physical network")
	c = n.Clone()
	c.Project = "p2"
	w.refuse(&PutNetwork{Network: *c}, Invalid, "keeps its project")
	c = n.Clone()
	c.Name = "renamed"
	w.do(&PutNetwork{Network: *c})
	w.refuse(&PutNetwork{Network: *c}, Stale, "in the meantime")
	w.do(&DeletePort{ID: "p"})
	w.do(&DeleteNetwork{ID: lan})
	if _, ok := w.s.View().Subnet(lan4); ok {
		t.Fatal("its subnet is still there")
	}
	w.refuse(&DeleteNetwork{ID: lan}, NotFound, "Network lan")
	w.refuse(&DeleteSubnet{ID: lan4}, NotFound, "Subnet lan4")
	w.refuse(&PutNetwork{Network: Network{ID: "n", Project: home, MTU: 70_000}}, Invalid, "mtu")
	w.refuse(&PutNetwork{Network: Network{ID: "n", Project: "nobody"}}, NotFound, "project")
}

// A subnet's pools change: the next port is given an address of the new ones.
func TestPutSubnet_ChangedPoolsAreUsedAtOnce(t *testing.T) {
	w := newTown(t)
	w.do(w.port("p"))
	old, _ := w.s.View().Subnet(lan4)
	c := old.Clone()
	c.Pools = []AddressPool{{"10.0.0.10", "10.0.0.10"}, {"10.0.0.4", "10.0.0.5"}}
	w.do(&PutSubnet{Subnet: *c})
	for i, want := range []string{"10.0.0.10", "10.0.0.4"} {
		id := fmt.Sprint("q", i)
		w.do(w.port(id))
		if got := addressesOf(t, w, PortID(id)); got != want {
			t.Fatalf("port %s has %s, want %s", id, got, want)
		}
	}
}
