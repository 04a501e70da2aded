package gossip

import (
	"io"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/memberlist"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Three nodes start, knowing each other from the state. Each hears of the others and of what they have.
func TestGossip_ThreeNodesSeeEachOther(t *testing.T) {
	inBubble(t, func(w *town) {
		w.openAll(3)
		w.within(15*time.Second, 1, "2 3/")
		w.within(15*time.Second, 2, "1 3/")
		w.within(15*time.Second, 3, "1 2/")
		for _, m := range w.nodes[1].Members() {
			if m.Advert.Total.MemoryMiB != 16384 || !m.Heard || m.Advert.API.Port() != 8774 || m.SilentFor(time.Now()) != 0 {
				w.t.Errorf("member %+v", m)
			}
		}
	})
}

// A machine loses its power. The others notice within half a minute, and say for how long it has been silent; when it comes
// back, they see that too.
func TestGossip_ADeadNodeIsNoticedAndMayComeBack(t *testing.T) {
	inBubble(t, func(w *town) {
		w.openAll(3)
		w.within(15*time.Second, 1, "2 3/")
		if err := w.nodes[3].Close(); err != nil {
			w.t.Fatal(err)
		}
		w.within(30*time.Second, 1, "2/3")
		w.within(30*time.Second, 2, "1/3")
		time.Sleep(12 * time.Second)
		for _, m := range w.nodes[1].Members() {
			if silent := m.SilentFor(time.Now()); m.ID == idOf(3) && silent.Round(time.Second) != 12*time.Second {
				w.t.Errorf("silent for %v", silent)
			}
		}
		w.open(3)
		w.within(40*time.Second, 1, "2 3/")
		w.within(40*time.Second, 3, "1 2/")
	})
}

// A node stops on purpose and says so. Nobody has to find out.
func TestGossip_LeavingIsSeenAtOnce(t *testing.T) {
	inBubble(t, func(w *town) {
		w.openAll(3)
		w.within(15*time.Second, 1, "2 3/")
		if err := w.nodes[3].Leave(5 * time.Second); err != nil {
			w.t.Fatal(err)
		}
		w.within(2*time.Second, 1, "2/3")
	})
}

// The cluster is cut in two for so long that memberlist forgets the other half. After the cut both find each other again,
// because the state still names them.
func TestGossip_ALongCutHeals(t *testing.T) {
	inBubble(t, func(w *town) {
		w.openAll(5)
		w.within(15*time.Second, 1, "2 3 4 5/")
		w.within(15*time.Second, 4, "1 2 3 5/")
		w.net.Cut(addrOfNode(4), addrOfNode(5))
		w.within(time.Minute, 1, "2 3/4 5")
		w.within(time.Minute, 4, "5/1 2 3")
		time.Sleep(2 * time.Hour)
		w.net.Heal()
		w.within(time.Minute, 1, "2 3 4 5/")
		w.within(time.Minute, 5, "1 2 3 4/")
	})
}

// Without the state's addresses a long cut would not heal: this proves that the test above tests something.
func TestGossip_WithoutPeersALongCutDoesNotHeal(t *testing.T) {
	inBubble(t, func(w *town) {
		w.open(1)
		w.open(2)
		if err := w.nodes[1].Join(Peer{idOf(2), addrOfNode(2)}); err != nil {
			w.t.Fatal(err)
		}
		w.within(5*time.Second, 2, "1/")
		w.net.Cut(addrOfNode(2))
		time.Sleep(2 * time.Hour)
		w.net.Heal()
		time.Sleep(10 * time.Minute)
		if w.seen(1) != "/" { // and who is not expected is forgotten
			w.t.Errorf("node 1 sees %q", w.seen(1))
		}
	})
}

// A node of another cluster, and one with another key, knock. Neither sees anybody, and nobody sees them.
func TestGossip_WrongKeyOrClusterSeesNobody(t *testing.T) {
	inBubble(t, func(w *town) {
		w.openAll(2)
		w.open(3, func(c *Config) { c.Keys = [][]byte{keyOf('x')} })
		w.open(4, func(c *Config) { c.Cluster = "c2" })
		for _, i := range []int{3, 4} {
			if err := w.nodes[i].Join(Peer{idOf(1), addrOfNode(1)}); err == nil {
				w.t.Errorf("node %d joined", i)
			}
		}
		time.Sleep(5 * time.Minute)
		for i, want := range map[int]string{1: "2/", 2: "1/", 3: "/", 4: "/"} {
			if w.seen(i) != want {
				w.t.Errorf("node %d sees %q", i, w.seen(i))
			}
		}
	})
}

// The key is changed in three steps while the nodes gossip. Nobody is lost, and at the end the old key opens nothing.
func TestSetKeys_RotationLosesNobody(t *testing.T) {
	inBubble(t, func(w *town) {
		w.openAll(3)
		w.within(15*time.Second, 1, "2 3/")
		before, after := w.key, keyOf('n')
		for _, keys := range [][][]byte{{before, after}, {after, before}, {after}} {
			for i := 1; i <= 3; i++ {
				if err := w.nodes[i].SetKeys(keys); err != nil {
					w.t.Fatal(err)
				}
				time.Sleep(time.Minute)
			}
		}
		w.within(time.Second, 1, "2 3/")
		w.open(4)
		if err := w.nodes[4].Join(Peer{idOf(1), addrOfNode(1)}); err == nil {
			w.t.Error("the old key still opens")
		}
		if err := w.nodes[1].SetKeys(nil); err == nil {
			w.t.Error("took away all keys")
		}
	})
}

// A busy node's free memory wavers all the time. What it sends stays within its allowance, and the last value arrives.
func TestSetAdvert_IsSentOnLevelChangeOnlyAndNotTooOften(t *testing.T) {
	inBubble(t, func(w *town) {
		w.openAll(3)
		w.within(15*time.Second, 1, "2 3/")
		a := advertOf(1)
		for i := range 600 { // a minute within a level
			a.Load.MemoryFree = uint8(48 + i%5)
			w.set(1, a)
			time.Sleep(100 * time.Millisecond)
		}
		if n := w.nodes[1].Counters().Announced; n != 0 {
			w.t.Errorf("sent %d times for nothing", n)
		}
		for i := range 600 { // a minute of jumps
			a.Load.MemoryFree = uint8(i % 2 * 90)
			w.set(1, a)
			time.Sleep(100 * time.Millisecond)
		}
		if n := w.nodes[1].Counters().Announced; n < announceBurst || n > announceBurst+7 {
			w.t.Errorf("sent %d times in a minute", n)
		}
		time.Sleep(announceEvery + 5*time.Second)
		for _, m := range w.nodes[2].Members() {
			if m.ID == idOf(1) && m.Advert.Load.MemoryFree != 90 {
				w.t.Errorf("node 2 was left with %d %%", m.Advert.Load.MemoryFree)
			}
		}
	})
}

func (w *town) set(i int, a Advert) {
	w.t.Helper()
	if err := w.nodes[i].SetAdvert(a); err != nil {
		w.t.Fatal(err)
	}
}

// A data directory was copied to a second machine. Both claim one node ID; the cluster says so, and believes the first.
func TestGossip_TwoMachinesWithOneIDAreReported(t *testing.T) {
	inBubble(t, func(w *town) {
		w.openAll(2)
		w.within(15*time.Second, 1, "2/")
		w.open(9, func(c *Config) { c.ID, c.Peers = idOf(2), nil })
		_ = w.nodes[9].Join(Peer{idOf(1), addrOfNode(1)})
		synctest.Wait()
		conflicts := w.nodes[1].Conflicts()
		if len(conflicts) != 1 || conflicts[0].ID != idOf(2) || conflicts[0].Kept != addrOfNode(2) || conflicts[0].Other != addrOfNode(9) {
			w.t.Errorf("conflicts: %+v", conflicts)
		}
		if w.nodes[1].Counters().Conflicts == 0 {
			w.t.Error("not counted")
		}
	})
}

// A node is stopped and started again under another address. At first that looks like a second machine; once the old address
// is silent for long enough, the node is believed, and the conflict is over.
func TestGossip_ANodeMayMove(t *testing.T) {
	inBubble(t, func(w *town) {
		w.openAll(3)
		w.within(15*time.Second, 1, "2 3/")
		if err := w.nodes[3].Close(); err != nil {
			w.t.Fatal(err)
		}
		w.open(9, func(c *Config) { c.ID = idOf(3) })
		_ = w.nodes[9].Join(Peer{idOf(1), addrOfNode(1)})
		synctest.Wait()
		if len(w.nodes[1].Conflicts()) != 1 {
			w.t.Errorf("conflicts: %+v", w.nodes[1].Conflicts())
		}
		w.expect(Peer{idOf(1), addrOfNode(1)}, Peer{idOf(2), addrOfNode(2)}, Peer{idOf(3), addrOfNode(9)})
		time.Sleep(3 * time.Minute)
		for _, m := range w.nodes[1].Members() {
			if m.ID == idOf(3) && (m.State != Alive || m.Addr != addrOfNode(9)) {
				w.t.Errorf("member %+v", m)
			}
		}
		if len(w.nodes[1].Conflicts()) != 0 {
			w.t.Errorf("conflicts: %+v", w.nodes[1].Conflicts())
		}
	})
}

// Members that hold the key send rubbish: an advert that cannot be read, and a name that is no node ID. The first stays a
// member without an advert; the second is no member. Both are counted.
func TestGossip_BadAdvertsAreCountedAndIgnored(t *testing.T) {
	inBubble(t, func(w *town) {
		w.openAll(2)
		w.within(15*time.Second, 1, "2/")
		odd := w.open(3)
		odd.announcer.mu.Lock()
		odd.announcer.current = []byte{99, 1, 2, 3}
		odd.announcer.mu.Unlock()
		_ = odd.list.UpdateNode(time.Second)
		if err := odd.Join(Peer{idOf(1), addrOfNode(1)}); err != nil {
			w.t.Fatal(err)
		}
		w.stranger(4, "../../etc")
		w.within(15*time.Second, 1, "2 3/")
		for _, m := range w.nodes[1].Members() {
			if m.ID == idOf(3) && (m.Heard || m.Advert != Advert{}) {
				w.t.Errorf("member %+v", m)
			}
		}
		if c := w.nodes[1].Counters(); c.BadAdverts == 0 || c.Strangers == 0 {
			w.t.Errorf("counters: %+v", c)
		}
	})
}

// stranger joins node 1 under a name that Open would refuse.
func (w *town) stranger(i int, name string) {
	w.t.Helper()
	c := Config{Cluster: "c1", ID: idOf(i), Addr: addrOfNode(i).Addr(), Port: DefaultPort}
	m := c.memberlist()
	m.Name, m.SecretKey, m.Transport, m.LogOutput = name, w.key, w.net.Transport(addrOfNode(i)), io.Discard
	list, err := memberlist.Create(m)
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := list.Join([]string{addrOfNode(1).String()}); err != nil {
		w.t.Error(err)
	}
	synctest.Wait()
	if err := list.Shutdown(); err != nil {
		w.t.Error(err)
	}
}

// What Open must refuse, before it binds anything.
func TestOpen_RefusesWhatIsNotSafe(t *testing.T) {
	good := Config{
		Cluster: "c1", ID: idOf(1), Addr: netip.MustParseAddr("127.0.0.1"), Keys: [][]byte{keyOf('k')}, Advert: advertOf(1),
	}
	for name, spoil := range map[string]func(*Config){
		"no key":             func(c *Config) { c.Keys = nil },
		"a short key":        func(c *Config) { c.Keys = [][]byte{keyOf('k'), []byte("short")} },
		"no cluster":         func(c *Config) { c.Cluster = "" },
		"a huge cluster ID":  func(c *Config) { c.Cluster = strings.Repeat("c", 300) },
		"a host name for ID": func(c *Config) { c.ID = "n1" },
		"an upper-case ID":   func(c *Config) { c.ID = "0000000A-0000-4000-8000-000000000000" },
		"no address":         func(c *Config) { c.Addr = netip.Addr{} },
		"all addresses":      func(c *Config) { c.Addr = netip.IPv4Unspecified() },
		"a huge version":     func(c *Config) { c.Advert.Version = strings.Repeat("v", 100) },
	} {
		c := good
		spoil(&c)
		g, err := Open(c)
		if err == nil {
			_ = g.Close()
			t.Errorf("%s was accepted", name)
		} else if strings.Contains(err.Error(), "kkkk") {
			t.Errorf("%s: the error tells the key: %v", name, err)
		}
	}
}

// Two nodes on real sockets of one machine. They meet, and closing leaves no goroutine behind (TestMain looks).
func TestGossip_OnRealSockets(t *testing.T) {
	open := func(i int) *Gossip {
		g, err := Open(Config{
			Cluster: "c1", ID: idOf(i), Addr: netip.MustParseAddr("127.0.0.1"), Keys: [][]byte{keyOf('k')},
			Advert: advertOf(i), Log: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			t.Fatal(err)
		}
		return g
	}
	a, b := open(1), open(2)
	if err := b.Join(Peer{Addr: a.Addr()}); err != nil {
		t.Error(err)
	}
	if n := len(b.Members()); n != 2 {
		t.Errorf("%d members", n)
	}
	for _, g := range []*Gossip{a, b, b} {
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	}
}
