package audit

import (
	"context"
	"os"
	"path/filepath"
	"slices"
)

// Ask fills in what the API says of everything that a project's administrator sees, with get, which reads one path from any node. Hosts and Left are the caller's
// to fill in.
func Ask(ctx context.Context, get func(ctx context.Context, path string, into any) error, project string) (*Account, error) {
	var servers, softly struct{ Servers []Server }
	var migrations struct{ Migrations []Migration }
	var images struct{ Images []Picture }
	var volumes struct{ Volumes []Volume }
	var snapshots struct{ Snapshots []Snapshot }
	var nodes struct{ Nodes []Machine }
	for path, into := range map[string]any{
		"/compute/v2.1/servers/detail?all_tenants=1&limit=1000":                     &servers,
		"/compute/v2.1/servers/detail?all_tenants=1&limit=1000&status=SOFT_DELETED": &softly,
		"/compute/v2.1/os-migrations?limit=1000":                                    &migrations,
		"/image/v2/images?limit=1000":                                               &images,
		"/volume/v3/" + project + "/snapshots/detail?limit=1000":                    &snapshots,
		"/volume/v3/" + project + "/volumes/detail?limit=1000":                      &volumes,
		"/cluster/v1/nodes": &nodes,
	} {
		if err := get(ctx, path, into); err != nil {
			return nil, err
		}
	}
	for _, s := range softly.Servers {
		if !slices.ContainsFunc(servers.Servers, func(o Server) bool { return o.ID == s.ID }) {
			servers.Servers = append(servers.Servers, s)
		}
	}
	if err := askCopies(ctx, get, servers.Servers); err != nil {
		return nil, err
	}
	return &Account{Servers: servers.Servers, Machines: nodes.Nodes, Migrations: migrations.Migrations, Images: images.Images,
		Volumes: volumes.Volumes, Snapshots: snapshots.Snapshots, Left: map[string][]string{}}, nil
}

// Files lists what is in a folder of a node's data directory, or of the one that nodes share, as Account.Left has it; nothing if it is not there.
func Files(dir, folder string) []string {
	entries, _ := os.ReadDir(filepath.Join(dir, folder))
	var all []string
	for _, e := range entries {
		all = append(all, folder+"/"+e.Name())
	}
	return all
}
