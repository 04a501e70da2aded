package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/kilonova/kilonova/node"
)

// TestCLI_NodeListWithoutQuorumShowsWhatTheNodeKnew asks a node that has lost its peers. That is when an operator has to see who
// is silent, so the command shows what there is, says that it may be old, and succeeds. What changes something still fails.
func TestCLI_NodeListWithoutQuorumShowsWhatTheNodeKnew(t *testing.T) {
	dir, err := os.MkdirTemp("", "kn") // t.TempDir is too long for the path of a socket
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	l, err := net.Listen("unix", node.SocketPath(dir))
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get(consistency) != "stale" {
			http.Error(w, `{"serviceUnavailable":{"code":503,"message":"no quorum answers"}}`, http.StatusServiceUnavailable)
			return
		}
		w.Header().Set(lag, "12.500")
		fmt.Fprint(w, `{"nodes":[{"name":"n1"}],"node":{"name":"n1"}}`)
	})}
	go func() { _ = srv.Serve(l) }()
	defer srv.Close()

	c := &cli{t: t}
	for _, line := range []string{"node list", "node show n1"} {
		out, notes, err := c.run(append(strings.Fields(line), "--data-dir", dir)...)
		if err != nil || !strings.Contains(out, "n1") || !strings.Contains(notes, "No quorum answers") || !strings.Contains(notes, "12.500 s ago") {
			t.Errorf("kilonova %s: %v\n%s%s", line, err, notes, out)
		}
	}
	if _, _, err := c.run("node", "drain", "n1", "--data-dir", dir); err == nil || !strings.Contains(err.Error(), "no quorum answers") {
		t.Errorf("drain: %v", err)
	}
}

// TestGreet_NamesADataDirectoryThatIsNotTheUsualOne so that the command that it prints works as it stands.
func TestGreet_NamesADataDirectoryThatIsNotTheUsualOne(t *testing.T) {
	for dir, want := range map[string]string{node.DefaultDataDir: "  kilonova node token create  ", "/srv/k": "  kilonova node token create --data-dir /srv/k  "} {
		var b strings.Builder
		if greet(&b, dir+"/clouds.yaml", dir); !strings.Contains(b.String(), want) {
			t.Errorf("in %s:\n%s", dir, b.String())
		}
	}
}
