package cluster

import (
	"bytes"
	"fmt"
	"net/netip"
	"reflect"
	"testing"

	"pgregory.net/rapid"
)

// drawCommand gives a random command over few names, so that commands meet, collide and are refused often.
func drawCommand(t *rapid.T, v *View) Command {
	c := Command{Time: v.Time() + Time(rapid.Int64Range(-5, 1<<36).Draw(t, "time"))}
	if rapid.IntRange(0, 3).Draw(t, "keyed") == 0 {
		c.ID = RequestID(rapid.SampledFrom([]string{"k1", "k2", "k3"}).Draw(t, "key"))
		c.Digest = Hash{byte(rapid.IntRange(0, 2).Draw(t, "digest"))}
	}
	if rapid.IntRange(0, 9).Draw(t, "about consoles") == 0 {
		c.Op = drawConsoleOp(t)
		return c
	}
	if rapid.IntRange(0, 5).Draw(t, "about groups") == 0 {
		c.Op = drawGroupOp(t, v)
		return c
	}
	c.Op = pick(t, "about", drawInstanceOp, drawInstanceOp, drawOperationOp, drawOperationOp, drawVolumeOp, drawVolumeOp, drawOtherOp, drawLeaseOp, drawReplicaOp)(t, v)
	return c
}

func pick[T any](t *rapid.T, what string, from ...T) T { return rapid.SampledFrom(from).Draw(t, what) }

func drawInstanceOp(t *rapid.T, v *View) Op {
	id := pick(t, "instance", "a", "b", "c", "d", "e")
	in, ok := v.Instance(InstanceID(id))
	if !ok {
		in = &Instance{ID: InstanceID(id)}
	}
	node := pick(t, "node", NodeID(""), first, "n2", "n3")
	switch rapid.IntRange(0, 7).Draw(t, "op") {
	case 0, 1:
		return drawCreate(t, node)
	case 2:
		return &PlaceInstance{ID: in.ID, Generation: in.Generation, Epoch: in.Epoch, Node: node}
	case 3:
		return &SetPower{ID: in.ID, Wanted: pick(t, "wanted", WantOn, WantOff), Reboot: pick(t, "reboot", "", "", RebootSoft, RebootHard),
			Action: pick(t, "action", "", "", "pause", "unpause", "suspend", "resume")}
	case 4:
		return &DeleteInstance{ID: in.ID}
	case 5:
		return &ForgetInstance{ID: in.ID}
	}
	r := InstanceReport{
		ID: in.ID, Generation: in.Generation, Epoch: in.Epoch, Boot: in.Boot,
		Power: pick(t, "power", PowerRunning, PowerShutdown, PowerNoState, PowerPaused, PowerSuspended),
		Error: pick(t, "error", "", "", "", "broken"),
		Gone:  rapid.Bool().Draw(t, "gone"),
	}
	if rapid.IntRange(0, 5).Draw(t, "late") == 0 {
		r.Generation--
	}
	if in.Node != "" {
		node = in.Node
	}
	return &ReportInstances{Node: node, Reports: []InstanceReport{r}}
}

func drawCreate(t *rapid.T, node NodeID) *CreateInstances {
	o := create("x", node)
	o.Spec.Flavor.VCPUs = rapid.Int64Range(1, 4).Draw(t, "vcpus")
	if rapid.Bool().Draw(t, "available") {
		o.Spec.Metadata = map[string]string{KeyHA: "true", KeyReplicas: "2"}
	}
	o.Items = nil
	for range rapid.IntRange(1, 3).Draw(t, "items") {
		id := pick(t, "new", "a", "b", "c", "d", "e", "f", "g")
		item := create(id, node).Items[0]
		switch rapid.IntRange(0, 3).Draw(t, "ports") {
		case 0:
			item.Ports = append(item.Ports, NewPort{Existing: pick(t, "existing", PortID("p1"), "p2", "p3")})
		case 1:
			item.Ports = []NewPort{{New: somePort("port-"+id, pick(t, "mac", "m1", "m2", id))}}
		}
		item.Volumes = drawNewVolumes(t, id)
		o.Items = append(o.Items, item)
	}
	return o
}

func drawOtherOp(t *rapid.T, v *View) Op {
	node := pick(t, "node", first, NodeID("n2"), "n3")
	port := pick(t, "port", "p1", "p2", "p3", "port-a", "port-b")
	switch rapid.IntRange(0, 9).Draw(t, "op") {
	case 0:
		return &PutJoinToken{Token: JoinToken{ID: "t", Hash: Hash{9}, Uses: 3, Expires: v.Time() + Time(pick(t, "expires", 0, 1<<36))}}
	case 1:
		return &EnrolNode{Token: "t", Secret: Hash{9}, Node: someNode(node, pick(t, "address", "192.0.2.2", "192.0.2.3"))}
	case 2:
		if rapid.IntRange(0, 2).Draw(t, "stop waiting") == 0 {
			return &StopAwaiting{Node: node}
		}
		return &SetNodeService{ID: node, Service: ServiceState{Disabled: rapid.Bool().Draw(t, "disabled"), ForcedDown: rapid.Bool().Draw(t, "forced down")}}
	case 3:
		return &RemoveNode{ID: node, Force: rapid.Bool().Draw(t, "force")}
	case 4:
		address := "192.0.2." + pick(t, "octet", "1", "2", "3")
		if rapid.IntRange(0, 3).Draw(t, "moves") == 0 {
			return &RelocateNode{ID: node, From: []string{"192.0.2.1", "192.0.2.2"}, To: address}
		}
		n := someNode(node, address)
		n.Host.Ready = rapid.Bool().Draw(t, "ready")
		return &UpdateNode{Node: n}
	case 5, 6:
		p := somePort(port, pick(t, "mac", "m1", "m2", port))
		if old, ok := v.Port(p.ID); ok && rapid.Bool().Draw(t, "replace") {
			p.Revision = old.Revision
		}
		for range rapid.IntRange(0, 2).Draw(t, "addresses") {
			p.FixedIPs = append(p.FixedIPs, FixedIP{Subnet: lan4, Address: pick(t, "address", "", "", "10.0.0.2", "10.0.0.1", "10.0.0.14")})
		}
		return &PutPort{Port: *p}
	case 7:
		return &DeletePort{ID: PortID(port)}
	case 8:
		return &PutQuota{Quota: Quota{Project: home, Limits: map[QuotaName]int64{
			QuotaInstances: rapid.Int64Range(-1, 6).Draw(t, "instances"), QuotaPorts: rapid.Int64Range(-1, 20).Draw(t, "ports"),
		}}}
	}
	return &DeleteQuota{Project: home}
}

// Whatever is asked, in whatever order: every promise holds at every index, a refusal changes nothing, a published view
// never changes, no node is promised more than it may, the same log gives the same state on a second replica that reads
// it from its encoding, and a snapshot at any point followed by the rest is the same as everything from the start.
func TestApply_KeepsItsPromisesUnderAnyCommands(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		one, two := NewState(), NewState()
		var late *State
		index := uint64(0)
		step := func(commands []Command) {
			index++
			before := one.View()
			was := before.Hash()
			b := must(EncodeEntry(commands))
			results, err := one.Apply(index, commands)
			if err != nil {
				t.Fatal(err)
			}
			if before.Hash() != was {
				t.Fatal("a published view changed")
			}
			checkAgainstOracle(t, before, one.View(), commands, results)
			for _, s := range []*State{two, late} {
				if s == nil {
					continue
				}
				if same, err := s.Apply(index, must(DecodeEntry(b))); err != nil || !reflect.DeepEqual(same, results) {
					t.Fatalf("another replica says %+v (%v), not %+v", same, err, results)
				}
				if s.View().Hash() != one.View().Hash() {
					t.Fatalf("replicas differ after %+v", commands)
				}
			}
		}
		for _, op := range foundation() {
			step([]Command{{Time: 1, Op: op}})
		}
		cut := rapid.IntRange(0, 60).Draw(t, "snapshot after")
		for i := range 60 {
			if i == cut {
				var b bytes.Buffer
				if _, err := one.View().WriteTo(&b); err != nil {
					t.Fatal(err)
				}
				late = must(ReadState(&b))
			}
			commands := []Command{drawCommand(t, one.View())}
			for rapid.IntRange(0, 3).Draw(t, "more") == 0 {
				commands = append(commands, drawCommand(t, one.View()))
			}
			step(commands)
		}
		step([]Command{{Op: &RestoreCluster{
			From: "c1", Authority: Authority{ClusterID: "c2"}, Node: someNode("new", "192.0.2.1"),
			Project: Project{ID: "p", Name: "other"}, Admin: User{ID: "u", Name: "other"},
		}}})
		for in := range one.View().Instances() {
			if in.Node != "" {
				t.Fatalf("instance %s is on node %s of the former cluster", in.ID, in.Node)
			}
		}
	})
}

// checkAgainstOracle holds a state against a dumb count of everything.
func checkAgainstOracle(t *rapid.T, before, after *View, commands []Command, results []Result) {
	if err := after.Verify(); err != nil {
		t.Fatalf("after %s: %v", describe(commands), err)
	}
	checkReplicas(t, before, after)
	room := make(map[NodeID]Resources)
	var instances int64
	var charged Resources
	for in := range after.Instances() {
		instances++
		charged = charged.Add(chargedFor(in))
		if in.Node != "" && in.Wanted != WantDeleted {
			room[in.Node] = room[in.Node].Add(in.Spec.Flavor.Resources())
		}
		if node, r := moveRoom(in); node != "" {
			room[node] = room[node].Add(r)
		}
		if r := in.Replica; r != nil {
			room[r.Node] = room[r.Node].Add(Resources{DiskGiB: r.DiskGiB})
		}
	}
	for n := range after.Nodes() {
		for g := range after.TombstonesOn(n.ID) {
			room[n.ID] = room[n.ID].Add(g.Resources)
		}
	}
	volumeRoom(t, after, room)
	for n := range after.Nodes() {
		got := after.Allocated(n.ID)
		if got != room[n.ID] {
			t.Fatalf("%s: %v is allocated on %s, the instances add up to %v", describe(commands), got, n.ID, room[n.ID])
		}
		if !got.Fits(n.Capacity.Limit()) {
			t.Fatalf("%s: %v is allocated on %s, whose limit is %v", describe(commands), got, n.ID, n.Capacity.Limit())
		}
	}
	if u := after.Usage(home); u.Instances != instances || u.Resources != charged || after.UserUsage(home, root).Resources != charged {
		t.Fatalf("%s: usage is %+v with %d instances that are charged %+v", describe(commands), u, instances, charged)
	}
	owners := make(map[string]PortID)
	for p := range after.Ports() {
		for _, ip := range p.FixedIPs {
			if other, taken := owners[ip.Address]; taken {
				t.Fatalf("%s: %s and %s both have %s", describe(commands), p.ID, other, ip.Address)
			}
			owners[ip.Address] = p.ID
		}
	}
	if len(commands) == 1 {
		checkOne(t, before, after, commands[0], results[0])
	}
}

// checkOne judges an entry of a single command: a refusal changed nothing, and an address that was left open is the
// lowest free one.
func checkOne(t *rapid.T, before, after *View, c Command, r Result) {
	if r.Err != nil && c.ID == "" {
		now := *after
		now.t.meta = before.t.meta
		if now.t.requests.Len() == before.t.requests.Len() && now.t.deleted.Len() == before.t.deleted.Len() && now.Hash() != before.Hash() {
			t.Fatalf("%s is refused (%s) and changed the state", c.Op.Kind(), r.Err.Message)
		}
	}
	o, ok := c.Op.(*PutPort)
	if !ok || r.Err != nil || len(o.Port.FixedIPs) > 0 || o.Port.Revision != 0 || r.Index != after.Index() {
		return
	}
	want := ""
	for a := netip.MustParseAddr("10.0.0.2"); a.String() != "10.0.0.15"; a = a.Next() {
		if _, taken := before.AddressTaken(lan4, a.String()); !taken {
			want = a.String()
			break
		}
	}
	if p, ok := after.Port(o.Port.ID); !ok || len(p.FixedIPs) != 1 || p.FixedIPs[0].Address != want {
		t.Fatalf("port has %+v, want %s", p, want)
	}
}

func describe(commands []Command) string {
	var b bytes.Buffer
	for _, c := range commands {
		fmt.Fprintf(&b, "%s %+v; ", c.Op.Kind(), c.Op)
	}
	return b.String()
}
