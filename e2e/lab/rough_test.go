package lab

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// Frames pass a rough wire. Each comes out after a delay within the bounds, in the order in which they are due, which is not that in which
// they came; some come twice, and the same seed does the same.
func TestLine_DelaysReordersAndDoubles(t *testing.T) {
	rough := Rough{Least: 20 * time.Millisecond, Most: 300 * time.Millisecond, Twice: 0.1, Seed: 7}
	const frames, every = 1000, time.Millisecond
	pass := func() (order []int) {
		l, begun := newLine(rough, 0), time.Unix(0, 0)
		met := map[int]int{}
		for i := range frames + 400 {
			now := begun.Add(time.Duration(i) * every)
			if i < frames {
				l.put(fmt.Append(nil, i), now)
			}
			for {
				b, next := l.take(now)
				if b == nil {
					if !next.IsZero() && !next.After(now) {
						t.Fatalf("nothing is due at %s, and the next frame was due at %s", now, next)
					}
					break
				}
				var number int
				if _, err := fmt.Sscan(string(b), &number); err != nil {
					t.Fatal(err)
				}
				if late := now.Sub(begun.Add(time.Duration(number) * every)); late < rough.Least || late > rough.Most+every {
					t.Errorf("frame %d is %s late", number, late)
				}
				met[number]++
				order = append(order, number)
			}
		}
		if len(met) != frames || len(l.waiting) != 0 || l.bytes != 0 {
			t.Errorf("%d of %d frames came, %d wait with %d bytes", len(met), frames, len(l.waiting), l.bytes)
		}
		return order
	}
	order := pass()
	if slices.IsSorted(order) || len(order) < frames*105/100 || len(order) > frames*115/100 {
		t.Errorf("%d frames came for %d, sorted: %t; want a tenth twice, and not in order", len(order), frames, slices.IsSorted(order))
	}
	if again := pass(); !slices.Equal(order, again) {
		t.Error("the same seed did something else")
	}
}

// A wire without any spread keeps the order.
func TestLine_OneDelayKeepsTheOrder(t *testing.T) {
	l, now := newLine(Rough{Least: time.Second, Most: time.Second}, 0), time.Unix(0, 0)
	for i := range 100 {
		l.put([]byte{byte(i)}, now)
	}
	if b, next := l.take(now); b != nil || !next.Equal(now.Add(time.Second)) {
		t.Fatalf("took %v, and the next is due at %s", b, next)
	}
	for i := range 100 {
		if b, _ := l.take(now.Add(time.Second)); len(b) != 1 || b[0] != byte(i) {
			t.Fatalf("frame %d is %v", i, b)
		}
	}
}

// A wire that gets more than passes drops it, and keeps no more than its bound.
func TestLine_HoldsNoMoreThanItsBound(t *testing.T) {
	l, now := newLine(Rough{Least: time.Hour, Most: 2 * time.Hour}, 0), time.Unix(0, 0)
	one := make([]byte, 1<<20)
	rand.NewChaCha8([32]byte{}).Read(one)
	for range 3 * lineLimit / len(one) {
		l.put(one, now)
	}
	if l.bytes > lineLimit || len(l.waiting) != lineLimit/len(one) {
		t.Errorf("%d frames wait with %d bytes; the bound is %d", len(l.waiting), l.bytes, lineLimit)
	}
	for range lineLimit / len(one) {
		if b, _ := l.take(now.Add(3 * time.Hour)); !slices.Equal(b, one) {
			t.Fatal("a frame came out otherwise than it went in")
		}
	}
	if l.bytes != 0 {
		t.Errorf("nothing waits, with %d bytes", l.bytes)
	}
}

// A host's cable is rough for a while. What is sent arrives whole, late, also in large pieces; cuts still cut; and afterwards nothing is left of it. The power
// of a host whose cable is rough can be cut.
func TestRoughen_DelaysWhatPasses(t *testing.T) {
	l, ctx := newLab(t)
	a, b := addHost(t, l), addHost(t, l)
	script := "if read n; then head -c $n /dev/zero; fi"
	if _, err := b.Start("server", nil, "busybox", "nc", "-ll", "-p", "7", "-e", "sh", "-c", script); err != nil {
		t.Fatal(err)
	}
	fetch := func(bytes int) (got int, took time.Duration) {
		began := time.Now()
		out, _ := a.Run(ctx, "sh", "-c", fmt.Sprintf("echo %d | busybox nc -w 5 %s 7 | wc -c", bytes, b.Address()))
		_, _ = fmt.Sscan(strings.TrimSpace(out), &got)
		return got, time.Since(began)
	}
	const size = 300_000
	for range 20 {
		if got, _ := fetch(1); got == 1 {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	rough := Rough{Least: 100 * time.Millisecond, Most: 140 * time.Millisecond, Twice: 0.05, Seed: 1}
	if err := b.Roughen(rough); err != nil {
		t.Fatal(err)
	}
	if got, took := fetch(size); got != size || took < 4*rough.Least { // there and back, for the connection and for the answer
		t.Errorf("got %d of %d bytes in %s over a wire that delays by %s", got, size, took, rough.Least)
	}
	if err := l.Partition(ctx, []*Host{a}, []*Host{b}); err != nil {
		t.Fatal(err)
	}
	if got, _ := fetch(1); got != 0 {
		t.Error("a partition lets through what comes over a rough wire")
	}
	if err := l.Heal(ctx); err != nil {
		t.Fatal(err)
	}
	if err := b.Smooth(); err != nil {
		t.Fatal(err)
	}
	if got, _ := fetch(size); got != size {
		t.Errorf("got %d of %d bytes over a wire that is smooth again", got, size)
	}
	if err := a.Roughen(rough); err != nil {
		t.Fatal(err)
	}
	if err := a.PowerCut(); err != nil {
		t.Error(err)
	}
}
