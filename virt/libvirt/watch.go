package libvirt

import (
	"context"
	"errors"
	"fmt"
	"time"

	rpc "github.com/digitalocean/go-libvirt"
	"github.com/google/uuid"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/virt"
)

const (
	watchOpenTimeout = 10 * time.Second // to connect and subscribe
	watchPingEvery   = 10 * time.Second // a libvirtd that hangs sends no events and closes nothing
	watchRetryMin    = 200 * time.Millisecond
	watchRetryMax    = 5 * time.Second
)

// watch forwards libvirt's events until ctx ends, over a connection of its own so that a busy call cannot hold
// them up. It subscribes again after every loss.
func (d *Driver) watch(ctx context.Context) {
	retry, told := watchRetryMin, false
	for ctx.Err() == nil {
		connected, err := d.watchOnce(ctx)
		if ctx.Err() != nil {
			return
		}
		if connected {
			d.emit(virt.Event{})
			retry, told = watchRetryMin, false
		}
		if !told {
			d.log.Warn("libvirt is not reachable; trying again", "socket", d.cfg.Socket, "err", err)
			told = true
		}
		select {
		case <-ctx.Done():
		case <-time.After(retry):
		}
		retry = min(2*retry, watchRetryMax)
	}
}

// watchOnce connects, subscribes and forwards until the connection is lost or ctx ends.
func (d *Driver) watchOnce(ctx context.Context) (connected bool, err error) {
	k := newLink(d.cfg.Socket, d.cfg.URI, watchOpenTimeout, d.log)
	defer k.close()
	subscription, unsubscribe := context.WithCancel(ctx)
	defer unsubscribe()
	events, err := ask(ctx, k, "subscribe to events", func(l *rpc.Libvirt) (<-chan rpc.DomainEventLifecycleMsg, error) {
		return l.LifecycleEvents(subscription)
	})
	if err != nil {
		return false, err
	}
	defer func() { // the sender of events ends when the connection does, if someone takes what it still holds
		k.close()
		for range events {
		}
	}()
	d.log.Info("libvirt is connected", "socket", d.cfg.Socket, "uri", d.cfg.URI)
	d.filter.forget() // a libvirtd that was replaced may know other filters
	d.caps.forget()
	d.views.listen(true)
	defer d.views.listen(false)
	d.emit(virt.Event{})
	ping := time.NewTicker(watchPingEvery)
	defer ping.Stop()
	for {
		select {
		case e, ok := <-events:
			if !ok {
				return true, errors.New("libvirtd closed the connection")
			}
			d.views.forget(instanceID(e.Dom.UUID))
			d.emit(virt.Event{ID: instanceID(e.Dom.UUID)})
		case <-ping.C:
			_, err := ask(ctx, k, "ping libvirtd", func(l *rpc.Libvirt) (uint64, error) { return l.ConnectGetLibVersion() })
			if err != nil {
				return true, fmt.Errorf("libvirtd does not answer: %w", err)
			}
		case <-ctx.Done():
			return true, nil
		}
	}
}

func instanceID(u rpc.UUID) cluster.InstanceID {
	return cluster.InstanceID(uuid.UUID(u).String())
}
