package node

import (
	"io/fs"
	"os"

	"github.com/kilonova/kilonova/httpapi/consoleproxy"
)

// noVNCDir is where Debian's package novnc has its files.
const noVNCDir = "/usr/share/novnc"

// entrance is what this node serves to those who look into guests.
type entrance struct {
	inside   *inside
	consoles *consoleproxy.Proxy
}

func (n *node) openEntrance() *entrance {
	i := newInside(n.id.Node, n.host.driver, n.wire.client, n.cfg.Log)
	return &entrance{inside: i, consoles: consoleproxy.New(consoleproxy.Config{
		Cluster: n.state, Dialer: i, NoVNC: noVNC(noVNCDir), Log: n.cfg.Log,
	})}
}

// noVNC gives noVNC's files, or nil when they are not installed.
func noVNC(dir string) fs.FS {
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return nil
	}
	return os.DirFS(dir)
}

// close ends the sessions of this node's clients, then those that peers have with its guests.
func (e *entrance) close() {
	e.consoles.Close()
	e.inside.close()
}
