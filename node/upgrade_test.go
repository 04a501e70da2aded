package node

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/kilonova/kilonova/cluster"
)

// A node was stopped, its program was replaced by this build's, and it is started again. That was done at each version of the command set: all that
// the former build had promised is there, it is written on, and the next start finds that, too.
func TestUpgrade_DataDirectoriesOfEveryFormatAreOpened(t *testing.T) {
	for version := uint32(1); version < cluster.CommandVersion; version++ {
		t.Run(fmt.Sprintf("version %d", version), func(t *testing.T) {
			l := newLAN(t)
			cfg := l.config(1) // another address than it had
			cfg.Name = ""
			unpack(t, filepath.Join("testdata", "upgrade", fmt.Sprintf("v%d.tar.gz", version)), cfg.DataDir)
			id, err := (&dataDir{path: cfg.DataDir}).enrolment()
			if err != nil {
				t.Fatal(err)
			}
			cfg.MovedFrom = id.Bind
			n := l.run(cfg)
			l.until("it leads", func() bool { return n.knows("fixture", cfg.Bind) })
			f := fixture{newAdministrator(t, n, n), n, l}
			f.holds(version)
			made := f.writesOn()
			if err := n.stop(); err != nil {
				t.Fatal(err)
			}
			f.at = l.run(cfg)
			l.until("it leads again", func() bool { return f.at.knows("fixture", cfg.Bind) })
			f.administrator = newAdministrator(t, f.at, f.at)
			l.until("all that was written is there", func() bool {
				return fmt.Sprint(f.servers()) == fmt.Sprint(map[string]string{"runs": "ACTIVE", "stopped": "SHUTOFF", made: "ACTIVE"})
			})
		})
	}
}

// unpack makes a data directory of an archive.
func unpack(t *testing.T, archive, dir string) {
	t.Helper()
	f, err := os.Open(archive)
	if err != nil {
		t.Fatalf("%v: see testdata/upgrade/README.md", err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, filepath.Clean("/"+h.Name))
		if h.Typeflag == tar.TypeDir {
			err = os.MkdirAll(path, 0o711)
		} else {
			var content []byte
			if content, err = io.ReadAll(r); err == nil {
				err = os.WriteFile(path, content, 0o600)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// fixture is a node of an earlier format, run by this build.
type fixture struct {
	*administrator
	at  *running
	lan *lan
}

// get reads a resource of the API.
func (f *fixture) get(path string, out any) {
	f.t.Helper()
	if status := f.call(f.at, http.MethodGet, path, "application/json", nil, out); status != http.StatusOK {
		f.t.Fatalf("GET %s: %d", path, status)
	}
}

// servers are the statuses of all servers by name.
func (f *fixture) servers() map[string]string {
	f.t.Helper()
	var res struct {
		Servers []struct{ Name, Status string }
	}
	f.get("/compute/v2.1/servers/detail", &res)
	out := map[string]string{}
	for _, s := range res.Servers {
		out[s.Name] = s.Status
	}
	return out
}

// holds looks for everything that the fixtures of a version have.
func (f *fixture) holds(version uint32) {
	f.t.Helper()
	f.lan.until("the servers are as they were", func() bool {
		return fmt.Sprint(f.servers()) == fmt.Sprint(map[string]string{"runs": "ACTIVE", "stopped": "SHUTOFF", "named": "ACTIVE"})
	})
	for _, noun := range []struct {
		since                  uint32
		path, list, key, value string
	}{
		{1, "/identity/v3/projects", "projects", "name", "guild"},
		{1, "/identity/v3/users", "users", "name", "mason"},
		{1, "/compute/v2.1/flavors", "flavors", "name", "tiny"},
		{1, "/image/v2/images", "images", "status", "active"},
		{1, "/network/v2.0/networks", "networks", "name", "lan"},
		{1, "/network/v2.0/subnets", "subnets", "cidr", "10.200.0.0/24"},
		{1, "/network/v2.0/ports", "ports", "name", "spare"},
		{2, "/compute/v2.1/os-server-groups", "server_groups", "name", "apart"},
		{2, "/compute/v2.1/os-aggregates", "aggregates", "name", "rack"},
	} {
		if version < noun.since {
			continue
		}
		var res map[string]any
		f.get(noun.path, &res)
		found := false
		all, _ := res[noun.list].([]any)
		for _, one := range all {
			fields, _ := one.(map[string]any)
			found = found || fields[noun.key] == noun.value
		}
		if !found {
			f.t.Errorf("no %s has the %s %s: %v", noun.list, noun.key, noun.value, res)
		}
	}
	var named struct {
		Servers []struct {
			Name     string
			Key      string `json:"key_name"`
			Metadata map[string]string
		}
	}
	f.get("/compute/v2.1/servers/detail?name=named", &named)
	if len(named.Servers) != 1 || named.Servers[0].Metadata["owner"] != "mason" || named.Servers[0].Key != "key" {
		f.t.Errorf("the server with metadata is %+v", named)
	}
	if version >= 3 {
		var res struct{ Settings struct{ Restarts int } }
		if err := f.at.ask(http.MethodGet, "/settings", nil, &res); err != nil || res.Settings.Restarts != 3 {
			f.t.Errorf("the settings are %+v, %v", res, err)
		}
	}
}

// writesOn makes a server out of the image that was there, and deletes one.
func (f *fixture) writesOn() (name string) {
	f.t.Helper()
	var images struct{ Images []struct{ ID string } }
	f.get("/image/v2/images", &images)
	var networks struct{ Networks []struct{ ID string } }
	f.get("/network/v2.0/networks", &networks)
	var old struct{ Servers []struct{ ID string } }
	f.get("/compute/v2.1/servers?name=named", &old)
	if len(images.Images) != 1 || len(networks.Networks) != 1 || len(old.Servers) != 1 {
		f.t.Fatalf("the fixture has %+v, %+v, %+v", images, networks, old)
	}
	const fresh = "afresh"
	body := fmt.Appendf(nil, `{"server":{"name":%q,"imageRef":%q,"flavorRef":"tiny","networks":[{"uuid":%q}]}}`, fresh, images.Images[0].ID, networks.Networks[0].ID)
	if status := f.call(f.at, http.MethodPost, "/compute/v2.1/servers", "application/json", body, nil); status != http.StatusAccepted {
		f.t.Fatalf("create: %d", status)
	}
	if status := f.call(f.at, http.MethodDelete, "/compute/v2.1/servers/"+old.Servers[0].ID, "application/json", nil, nil); status != http.StatusNoContent {
		f.t.Fatalf("delete: %d", status)
	}
	f.lan.until("it runs, and the deleted is gone", func() bool {
		now := f.servers()
		return now[fresh] == "ACTIVE" && now["named"] == ""
	})
	return fresh
}
