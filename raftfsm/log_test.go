package raftfsm

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
)

// Raft says which servers there are with a format of its own. The line must hold the servers, not the format.
func TestLogger_FillsFormatsIn(t *testing.T) {
	var out strings.Builder
	l := newLogger(slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))).With("term", hclog.Fmt("<%d>", 7))
	l.Info("initial configuration", "index", 1, "servers", hclog.Fmt("%+v", []struct{ ID string }{{"n1"}}), "odd", hclog.Format{}, "odder", hclog.Format{1, 2})
	if got := out.String(); strings.Contains(got, "%") || !strings.Contains(got, `{ID:n1}`) || !strings.Contains(got, "term=<7>") || !strings.Contains(got, "index=1") {
		t.Errorf("the line is %s", got)
	}
}
