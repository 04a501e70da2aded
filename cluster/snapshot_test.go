package cluster

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"testing"
)

// busyTown has something in every table.
func busyTown(t testing.TB) *town {
	w := newTown(t)
	w.enrol("n2", "192.0.2.2")
	w.enrol("n3", "192.0.2.3")
	w.do(&RemoveNode{ID: "n3"})
	w.do(&PutProject{Project: Project{ID: "p2", Name: "two", Options: map[string]any{"immutable": true, "n": 7}}})
	w.do(&PutUser{User: User{ID: "u2", Name: "two", PasswordHash: "$argon2id$x"}})
	w.do(&PutAssignment{Assignment: Assignment{User: "u2", Project: "p2", Role: "r-member"}})
	w.do(&PutCredential{Credential: Credential{
		ID: "cred", Name: "cred", User: "u2", Project: "p2", Roles: []RoleID{"r-member"}, SecretHash: Hash{3},
	}})
	w.do(&RevokeToken{Revocation: Revocation{Token: "tok", Expires: w.now.Add(RequestMemory)}})
	w.do(&CreateKeyPair{KeyPair: KeyPair{User: "u2", Name: "k", Type: "ssh", PublicKey: "ssh-ed25519 AAAA"}, Project: "p2"})
	w.do(&PutQuota{Quota: Quota{Project: "p2", Limits: map[QuotaName]int64{QuotaCores: 3}}})
	w.do(&PutPort{Port: *somePort("alone", "alone")})
	w.active("a")
	w.do(someConsole("a", "1"))
	w.do(&PutSettings{Settings: Settings{Lease: DefaultLease()}})
	w.do(volumeType("t1", "gold", map[string]string{SpecBackend: BackendShared}))
	w.do(someVolume("disk"))
	w.do(someVolume("spare"))
	w.do(attach("disk", "a"))
	w.do(&BeginMove{ID: "a", Operation: "o1", What: OpMigrate})
	w.do(&CreateVolumeSnapshot{Force: true, Snapshot: VolumeSnapshot{ID: "snap", Project: home, User: root, Volume: "spare"}})
	w.do(create("b", ""))
	w.do(create("c", "n2"))
	w.do(&DeleteInstance{ID: "c"})
	w.do(create("d", ""))
	w.do(&DeleteInstance{ID: "d"})
	w.do(&BeginRotation{Keys: KeysGossip, GossipKey: []byte("new")})
	w.together()
	w.apply(Command{ID: "once", Digest: Hash{4}, Op: &DeletePort{ID: "alone"}})
	for i := range sections {
		if sections[i].count(&w.s.t) == 0 {
			t.Fatalf("section %d is empty", sections[i].id)
		}
	}
	return w
}

func snapshot(t testing.TB, s *State) []byte {
	t.Helper()
	var b bytes.Buffer
	n, err := s.View().WriteTo(&b)
	if err != nil || n != int64(b.Len()) {
		t.Fatalf("wrote %d of %d bytes: %v", n, b.Len(), err)
	}
	return b.Bytes()
}

// A replica reads another's snapshot. From then on the two are the same, byte for byte, whatever is applied.
func TestReadState_GivesTheSameState(t *testing.T) {
	w := busyTown(t)
	b := snapshot(t, w.s)
	other, err := ReadState(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(snapshot(t, other), b) {
		t.Fatal("written again it is another")
	}
	if err := other.View().Verify(); err != nil {
		t.Fatal(err)
	}
	if got := w.s.View().Hash(); got != other.View().Hash() || got != Hash(b[len(b)-sha256.Size:]) {
		t.Fatal("the hashes differ")
	}
	for _, c := range []Command{
		{Op: create("e", "n2")},
		{Op: &PutPort{Port: *somePort("p", "p")}},
		{ID: "once", Digest: Hash{4}, Op: &DeletePort{ID: "alone"}},
		{Op: &RemoveNode{ID: "n2", Force: true}},
	} {
		c.Time = w.now
		w.apply(c)
		if _, err := other.Apply(w.index, []Command{c}); err != nil {
			t.Fatal(err)
		}
		if w.s.View().Hash() != other.View().Hash() {
			t.Fatalf("after %s they differ", c.Op.Kind())
		}
	}
}

// A snapshot with any one bit turned, or cut anywhere, or with anything behind it, is not read at all.
func TestReadState_RefusesEveryFlippedBitAndEveryCut(t *testing.T) {
	b := snapshot(t, busyTown(t).s)
	read := func(b []byte) error {
		s, err := ReadState(bytes.NewReader(b))
		if err != nil && s != nil {
			t.Fatal("an error with a state")
		}
		return err
	}
	for i := range b {
		b[i] ^= 1 << (i % 8)
		if err := read(b); !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrUnknownCommand) {
			t.Fatalf("byte %d flipped: %v", i, err)
		}
		b[i] ^= 1 << (i % 8)
	}
	for n := 0; n < len(b); n += 7 {
		if err := read(b[:n]); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("cut at %d: %v", n, err)
		}
	}
	if err := read(append(bytes.Clone(b), 0)); !errors.Is(err, ErrCorrupt) {
		t.Fatalf("something behind it: %v", err)
	}
	if err := read(b); err != nil {
		t.Fatal(err)
	}
}

// The digest may be right and the content still not ours: a reader never panics and never gives a part of a state.
func FuzzReadState(f *testing.F) {
	f.Add(body(snapshot(f, busyTown(f).s)))
	f.Add(body(snapshot(f, NewState())))
	f.Add([]byte(snapshotMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		sum := sha256.Sum256(b)
		s, err := ReadState(bytes.NewReader(append(bytes.Clone(b), sum[:]...)))
		if err == nil {
			_ = s.View().Verify() // may find a lot, must survive
			return
		}
		if s != nil || !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrUnknownCommand) {
			t.Fatalf("state %v with %v", s, err)
		}
	})
}

func body(b []byte) []byte { return b[:len(b)-sha256.Size] }

type brokenDisk struct{ left int }

var errDisk = errors.New("no space left on device")

func (d *brokenDisk) Write(b []byte) (int, error) {
	if d.left -= len(b); d.left < 0 {
		return 0, errDisk
	}
	return len(b), nil
}

func TestWriteTo_ReportsAFullDisk(t *testing.T) {
	if _, err := busyTown(t).s.View().WriteTo(&brokenDisk{left: 100}); !errors.Is(err, errDisk) {
		t.Fatalf("got %v", err)
	}
}

// Verify is only worth something if it sees what is wrong. Each of these is planted in a state that was right.
func TestVerify_FindsPlantedFaults(t *testing.T) {
	for name, plant := range map[string]func(*State){
		"room counted twice":      func(s *State) { s.allocate(first, Resources{VCPUs: 1}) },
		"usage forgotten":         func(s *State) { s.t.usage.Delete(home) },
		"address lost":            func(s *State) { s.t.addresses.PopMin() },
		"MAC lost":                func(s *State) { s.t.macs.PopMin() },
		"index entry too many":    func(s *State) { s.t.byNode.Set("x", "a") },
		"instance without record": func(s *State) { s.t.instances.Delete("a") },
		"node without record":     func(s *State) { s.t.nodes.Delete(first) },
		"tombstone lost":          func(s *State) { s.t.tombstones.PopMin() },
		"port lost":               func(s *State) { s.t.ports.Delete("port-a") },
		"network lost":            func(s *State) { s.t.networks.Delete(lan) },
		"subnet lost":             func(s *State) { s.t.subnets.Delete(lan4) },
		"two of one name": func(s *State) {
			n, _ := s.t.nodes.Get("n2")
			c := n.Clone()
			c.Name = "host-n1"
			s.t.nodes.Set(c.ID, c)
		},
		"address of no subnet": func(s *State) {
			p, _ := s.t.ports.Get("port-a")
			c := p.Clone()
			c.FixedIPs = []FixedIP{{Subnet: lan4, Address: "10.9.9.9"}}
			s.putPort(c)
		},
	} {
		w := busyTown(t)
		plant(w.s)
		if err := w.s.View().Verify(); err == nil {
			t.Errorf("%s: not found", name)
		}
	}
}

// large is a state with n instances on nodes of their own networks, as a big cluster has.
func large(t testing.TB, n int) *State {
	s := NewState()
	apply := func(index uint64, ops ...Op) {
		commands := make([]Command, len(ops))
		for i := range ops {
			commands[i] = Command{Time: Time(index), Op: ops[i]}
		}
		results, err := s.Apply(index, commands)
		if err != nil {
			t.Fatal(err)
		}
		for i, r := range results {
			if r.Err != nil {
				t.Fatalf("%s: %v", ops[i].Kind(), r.Err)
			}
		}
	}
	f := foundation()
	node := &f[0].(*InitCluster).Node
	node.Capacity.VCPUs, node.Capacity.MemoryMiB, node.Capacity.DiskGiB = 1e6, 1e8, 1e7
	sub := &f[4].(*PutSubnet).Subnet
	sub.CIDR, sub.Pools = "10.0.0.0/16", []AddressPool{{Start: "10.0.0.2", End: "10.0.255.254"}}
	apply(1, f...)
	limits := map[QuotaName]int64{QuotaInstances: Unlimited, QuotaCores: Unlimited, QuotaRAM: Unlimited, QuotaPorts: Unlimited}
	apply(2, &PutQuota{Quota: Quota{Project: home, Limits: limits}})
	for i := range n {
		apply(uint64(i+3), create(fmt.Sprintf("%08x-0000-4000-8000-000000000000", i), first))
	}
	return s
}

func BenchmarkReadState_10000Instances(b *testing.B) {
	snap := snapshot(b, large(b, 10_000))
	b.SetBytes(int64(len(snap)))
	for b.Loop() {
		if _, err := ReadState(bytes.NewReader(snap)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkWriteTo_10000Instances(b *testing.B) {
	v := large(b, 10_000).View()
	for b.Loop() {
		v.Hash()
	}
}

func BenchmarkEncodeAndDecode_CreateOneInstance(b *testing.B) {
	c := Command{ID: "req-6f1b2c", Digest: Hash{1}, Time: 1, Op: create("6f1b2c00-0000-4000-8000-000000000000", first)}
	enc, err := EncodeEntry([]Command{c})
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(enc)))
	b.ReportAllocs()
	for b.Loop() {
		e, err := EncodeEntry([]Command{c})
		if err == nil {
			_, err = DecodeEntry(e)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkApply_CreateOneInstanceAmong10000(b *testing.B) {
	s := large(b, 10_000)
	index, n := s.View().Index(), 0
	for b.Loop() {
		n++
		index++
		c := create(fmt.Sprintf("%08x-1111-4000-8000-000000000000", n), first)
		c.Items[0].Ports = nil
		r, err := s.Apply(index, []Command{{ID: RequestID(c.Items[0].ID), Time: Time(index), Op: c}})
		if err != nil || r[0].Err != nil {
			b.Fatal(err, r)
		}
		s.View()
	}
}

func BenchmarkApply_PortAmong10000(b *testing.B) {
	s := large(b, 10_000)
	index := s.View().Index()
	p := somePort("benchport", "benchport")
	for b.Loop() {
		index += 2
		r, err := s.Apply(index-1, []Command{{Op: &PutPort{Port: *p}}})
		if err != nil || r[0].Err != nil {
			b.Fatal(err, r)
		}
		if _, err := s.Apply(index, []Command{{Op: &DeletePort{ID: p.ID}}}); err != nil {
			b.Fatal(err)
		}
	}
}
