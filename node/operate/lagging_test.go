package operate

import (
	"testing"
	"time"

	"github.com/kilonova/kilonova/cluster"
)

// A volume is attached, and the guest leaves before it is plugged in. What arrives must not count as having it: it is of an older generation until the
// destination has brought it up to date.
func TestMigrate_WhatArrivesIsBroughtUpToDate(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.begin(cluster.OpLive, n2)
		leaving := w.instance()
		if came := arriving(leaving); came.Generation >= leaving.Generation || came.Node != n2 || came.Epoch != leaving.Op.Move.Epoch {
			t.Errorf("of generation %d, it arrives as %+v", leaving.Generation, came)
		}
		w.settle(time.Minute)
		held, _ := w.hosts[n2].sim.Look(one)
		if now := w.instance(); now.Node != n2 || held.Domain.Stamp.Generation != now.Generation {
			t.Errorf("a minute later it is on %s, of generation %d, and its domain is of %d", now.Node, now.Generation, held.Domain.Stamp.Generation)
		}
	})
}
