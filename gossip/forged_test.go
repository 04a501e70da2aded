package gossip

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"io"
	"log/slog"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"
	"github.com/kilonova/kilonova/gossip/gossiptest"
)

// recorder is a machine's access to the network of which somebody takes down every packet that it sends.
type recorder struct {
	*gossiptest.Transport
	mu   sync.Mutex
	sent [][]byte
}

// WriteTo sends a packet.
func (r *recorder) WriteTo(b []byte, addr string) (time.Time, error) {
	return r.WriteToAddress(b, memberlist.Address{Addr: addr})
}

// WriteToAddress sends a packet.
func (r *recorder) WriteToAddress(b []byte, a memberlist.Address) (time.Time, error) {
	r.mu.Lock()
	r.sent = append(r.sent, append([]byte(nil), b...))
	r.mu.Unlock()
	return r.Transport.WriteToAddress(b, a)
}

func (r *recorder) taken() [][]byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.sent[:len(r.sent):len(r.sent)]
}

// replay sends packets to the nodes from a machine that is none. There are pauses, for a machine loses what it has no room for.
func (w *town) replay(packets [][]byte, to ...int) {
	w.t.Helper()
	if len(packets) == 0 {
		w.t.Fatal("there is nothing to replay")
	}
	from := w.net.Transport(netip.MustParseAddrPort("10.0.0.66:7946"))
	before := w.net.Packets()
	for n, b := range packets {
		for _, i := range to {
			if _, err := from.WriteTo(b, addrOfNode(i).String()); err != nil {
				w.t.Fatal(err)
			}
		}
		if n%16 == 0 {
			time.Sleep(time.Millisecond)
		}
	}
	if n := w.net.Packets() - before; n < len(packets)*len(to) {
		w.t.Errorf("%d of %d packets arrived", n, len(packets)*len(to))
	}
	time.Sleep(time.Second)
}

// tapped opens nodes 1 to 3, and takes down what each sends.
func (w *town) tapped() map[int]*recorder {
	w.t.Helper()
	var peers []Peer
	taps := map[int]*recorder{}
	for i := 1; i <= 3; i++ {
		peers = append(peers, Peer{idOf(i), addrOfNode(i)})
	}
	w.expect(peers...)
	for i := 1; i <= 3; i++ {
		w.open(i, func(c *Config) {
			taps[i] = &recorder{Transport: w.net.Transport(addrOfNode(i))}
			c.Transport = taps[i]
		})
	}
	return taps
}

// Somebody on the wire took down all that three nodes said. When one of them has died, everything is sent again, from another machine: the
// dead one stays dead, and what it said of itself in its life is not news. When it lives again, what was said about its death is sent
// again: it stays alive.
func TestGossip_WhatWasRecordedChangesNothingLater(t *testing.T) {
	inBubble(t, func(w *town) {
		taps := w.tapped()
		w.within(15*time.Second, 1, "2 3/")
		w.within(15*time.Second, 2, "1 3/")
		busy := advertOf(3)
		busy.Load.MemoryFree = 7
		if err := w.nodes[3].SetAdvert(busy); err != nil {
			w.t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		if err := w.nodes[3].Close(); err != nil {
			w.t.Fatal(err)
		}
		w.within(time.Minute, 1, "2/3")
		w.within(time.Minute, 2, "1/3")
		since, advert := w.member(1, 3).Since, w.member(1, 3).Advert
		for _, i := range []int{3, 2, 1} {
			w.replay(taps[i].taken(), 1, 2)
		}
		if w.seen(1) != "2/3" || w.seen(2) != "1/3" || w.member(1, 3).Since != since || w.member(1, 3).Advert != advert {
			w.t.Errorf("after its words were sent again: node 1 sees %q, node 2 sees %q, %+v", w.seen(1), w.seen(2), w.member(1, 3))
		}

		died := append(taps[1].taken(), taps[2].taken()...)
		w.open(3)
		w.within(time.Minute, 1, "2 3/")
		w.within(time.Minute, 2, "1 3/")
		time.Sleep(time.Minute)
		since = w.member(1, 3).Since
		w.replay(died, 1, 2, 3)
		if w.seen(1) != "2 3/" || w.seen(2) != "1 3/" || w.seen(3) != "1 2/" || w.member(1, 3).Since != since {
			w.t.Errorf("after the news of its death were sent again: %q, %q and %q", w.seen(1), w.seen(2), w.seen(3))
		}
	})
}

func (w *town) member(i, other int) Member {
	for _, m := range w.nodes[i].Members() {
		if m.ID == idOf(other) {
			return m
		}
	}
	w.t.Fatalf("node %d does not know node %d", i, other)
	return Member{}
}

// Somebody who holds the key says that a node is dead, and says that it is somewhere else. The node hears of the first and contradicts, which is
// believed; the second is a conflict, and the node stays where it is.
func TestGossip_AForgedDeathIsContradicted(t *testing.T) {
	inBubble(t, func(w *town) {
		w.openAll(3)
		w.within(15*time.Second, 1, "2 3/")
		w.within(15*time.Second, 2, "1 3/")
		const deadMsg, aliveMsg = 5, 4
		far := packed{"Incarnation", uint32(1 << 20), "Node", string(idOf(3)), "From", string(idOf(2))}
		w.replay([][]byte{w.forge(deadMsg, far)}, 1, 2)
		w.within(time.Minute, 1, "2 3/")
		w.within(time.Minute, 2, "1 3/")
		elsewhere := packed{
			"Incarnation", uint32(1 << 21), "Node", string(idOf(3)), "Addr", "\x0a\x00\x00\x42", "Port", uint32(7946),
			"Meta", "", "Vsn", "\x01\x05\x02\x02\x05\x04",
		}
		w.replay([][]byte{w.forge(aliveMsg, elsewhere)}, 1, 2)
		if m := w.member(1, 3); m.Addr != addrOfNode(3) || m.State != Alive {
			w.t.Errorf("a key holder moved the node: %+v", m)
		}
		if len(w.nodes[1].Conflicts()) == 0 {
			w.t.Error("the second place of the node is not mentioned, or the forged words did not arrive")
		}
	})
}

// A death that was forged is taken in at first, or the test above shows nothing: without the node itself nobody contradicts.
func TestGossip_AForgedDeathOfASilentNodeIsAHint(t *testing.T) {
	inBubble(t, func(w *town) {
		w.openAll(3)
		w.within(15*time.Second, 1, "2 3/")
		w.net.Cut(addrOfNode(3))
		w.replay([][]byte{w.forge(5, packed{"Incarnation", uint32(1 << 20), "Node", string(idOf(3)), "From", string(idOf(2))})}, 1)
		if w.seen(1) != "2/3" {
			w.t.Errorf("node 1 sees %q", w.seen(1))
		}
	})
}

// packed is a record of memberlist's: names and values.
type packed []any

// forge makes a packet as a holder of the key makes them (memberlist, net.go, security.go and label.go): a kind, a record in MessagePack, encrypted
// with AES-GCM, behind the cluster's label.
func (w *town) forge(kind byte, fields packed) []byte {
	w.t.Helper()
	plain := []byte{kind, 0x80 | byte(len(fields)/2)}
	for _, f := range fields {
		switch f := f.(type) {
		case string:
			plain = append(append(plain, 0xda, 0, byte(len(f))), f...)
		case uint32:
			plain = binary.BigEndian.AppendUint32(append(plain, 0xce), f)
		}
	}
	block, err := aes.NewCipher(w.key)
	if err != nil {
		w.t.Fatal(err)
	}
	sealer, err := cipher.NewGCM(block)
	if err != nil {
		w.t.Fatal(err)
	}
	nonce := make([]byte, sealer.NonceSize())
	if _, err := io.ReadFull(rand.Reader, nonce); err != nil {
		w.t.Fatal(err)
	}
	c := Config{Cluster: "c1", ID: idOf(1), Addr: addrOfNode(1).Addr(), Log: slog.New(slog.DiscardHandler)}
	label := c.memberlist().Label
	packet := append([]byte{244, byte(len(label))}, label...)
	packet = append(append(packet, 1), nonce...)
	return sealer.Seal(packet, nonce, plain, []byte(label))
}
