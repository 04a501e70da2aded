package node

import (
	"context"
	"net"
	"os"
	"time"

	"github.com/kilonova/kilonova/node/pki"
)

// renewEvery is how often a node looks at the age of its certificates.
const renewEvery = time.Hour

// renew replaces this node's certificates well before they end. Every node holds the cluster's authority in its state, so
// it asks nobody: what keeps a removed node out is that peers look it up in the state, not its certificate.
func (n *node) renew(ctx context.Context) {
	for {
		if err := n.renewIfDue(time.Now()); err != nil {
			n.cfg.Log.Error("renew this node's certificates", "err", err)
		}
		if !pause(ctx, renewEvery) {
			return
		}
	}
}

func (n *node) renewIfDue(now time.Time) error {
	if !pki.RenewalDue(n.wire.directory.creds.Leaf().Leaf, now) {
		return nil
	}
	au := n.state.Local().Authority()
	if au == nil {
		return nil // not caught up yet
	}
	authority, err := pki.ParseAuthority(au.CACert, au.CAKey)
	if err != nil {
		return err
	}
	if err := signOwn(n.dir, authority, n.id.Node, n.cfg, now); err != nil {
		return err
	}
	leaf, err := n.dir.leaf(peerPEM)
	if err != nil {
		return err
	}
	n.wire.directory.creds.Set(leaf, authority)
	n.cfg.Log.Info("renewed this node's certificates", "until", leaf.Leaf.NotAfter)
	return nil
}

// notifySystemd tells the service manager how the node is, where there is one; see sd_notify(3).
func notifySystemd(state string) {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return
	}
	defer conn.Close()
	conn.Write([]byte(state))
}
