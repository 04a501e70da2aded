package node

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/clusterapi"
)

// backup takes one from a node.
func (r *running) backup(t *testing.T) []byte {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", SocketPath(r.cfg.DataDir))
	}}}
	res, err := client.Get("http://node" + clusterapi.Path + "/backup")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("backup: %s, %v: %.200s", res.Status, err, b)
	}
	return b
}

// A cluster of two is backed up at its second node and lost. Another one is made of the backup, on the address of the former first node: it
// knows the former's users, has none of its nodes, takes a wiped machine in under its old name, and says that it was restored until the
// operator confirms. The former cluster, which comes back, has nothing to do with it.
func TestRestore_MakesAClusterThatIsAStrangerToTheFormer(t *testing.T) {
	l := newLAN(t)
	n1 := l.first()
	n2 := l.join(2, n1)
	l.until("two nodes", func() bool { nodes, err := n2.nodes(); return err == nil && nodes["n2"].Status == "enabled" })
	saved := n2.backup(t)
	var before clusterapi.Overview
	if err := n1.ask(http.MethodGet, "", nil, &before); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(n1.stop(), n2.stop()); err != nil {
		t.Fatal(err)
	}

	cfg := l.config(1)
	if _, _, err := Restore(cfg, bytes.NewReader(saved)); err == nil || !strings.Contains(err.Error(), "empty --data-dir") {
		t.Errorf("over an enrolled directory: %v", err)
	}
	cfg.DataDir = filepath.Join(l.dirs, "restored")
	head, clouds, err := Restore(cfg, bytes.NewReader(saved))
	if err != nil {
		t.Fatal(err)
	}
	if head.ClusterID != before.ClusterID || head.Nodes != 2 {
		t.Errorf("the backup is of %+v", head)
	}
	if _, err := os.Stat(clouds); err != nil {
		t.Error(err)
	}
	r := l.run(cfg)
	var o clusterapi.Overview
	l.until("the restored cluster answers", func() bool { return r.ask(http.MethodGet, "", nil, &o) == nil })
	if o.ClusterID == before.ClusterID || o.Nodes != 1 || o.Restored == nil || o.Restored.From != before.ClusterID || o.Restored.Confirmed {
		t.Errorf("it says %+v, %+v", o, o.Restored)
	}
	again := l.config(2)
	again.DataDir = filepath.Join(l.dirs, "again")
	if err := Join(t.Context(), again, cfg.Bind, l.token(r, nil)); err != nil {
		t.Fatal(err)
	}
	l.run(again)
	l.until("the wiped machine is a node", func() bool { nodes, err := r.nodes(); return err == nil && nodes["n2"].Status == "enabled" })
	if err := r.ask(http.MethodPost, "/confirm-restore", nil, nil); err != nil {
		t.Error(err)
	}
	if err := r.ask(http.MethodPost, "/confirm-restore", nil, nil); err == nil || !strings.Contains(err.Error(), "already") {
		t.Errorf("confirmed twice: %v", err)
	}
	if err := r.ask(http.MethodGet, "", nil, &o); err != nil || !o.Restored.Confirmed {
		t.Errorf("after that: %+v, %v", o.Restored, err)
	}
}

// What is no backup, or a damaged one, makes nothing.
func TestRestore_OfADamagedBackupMakesNothing(t *testing.T) {
	l := newLAN(t)
	n1 := l.first()
	saved := n1.backup(t)
	cfg := l.config(2)
	damaged := bytes.Clone(saved)
	damaged[len(damaged)/2] ^= 4
	for what, b := range map[string][]byte{"damaged": damaged, "cut": saved[:len(saved)-1], "none": []byte("tar"), "empty": nil} {
		if _, _, err := Restore(cfg, bytes.NewReader(b)); !errors.Is(err, cluster.ErrCorrupt) {
			t.Errorf("%s: %v", what, err)
		}
		if _, err := os.Stat(cfg.DataDir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: the data directory is there: %v", what, err)
		}
	}
}
