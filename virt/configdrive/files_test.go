package configdrive

import (
	"bytes"
	"encoding/json"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

func sample() Meta {
	return Meta{
		UUID: "5f1d3a52-6b8a-4c6e-9a3a-2f0c7a1e9b10", Name: `web <1> & "co"`, Hostname: "web-1",
		AvailabilityZone: "nova", ProjectID: "0123456789abcdef0123456789abcdef", LaunchIndex: 2,
		FlavorName: "small", Metadata: map[string]string{"role": "web", "tier": "front"},
		Keys:      []Key{{Name: "me", Type: "ssh", Data: "ssh-ed25519 AAAAC3Nza me@example"}},
		AdminPass: "hunter2", RandomSeed: []byte("0123456789abcdef"), UserData: []byte("#!/bin/sh\necho hi\n"),
		Personality: []File{{Path: "/etc/../etc/banner.txt", Content: []byte("hello")}},
		NICs: []NIC{
			{
				PortID: "68f096f7-8155-4cfc-8b87-dedb565cc2eb", NetworkID: "dd30bcfe-1e79-4839-8982-375a33f8e649",
				MAC: "fa:16:3e:99:59:c6", MTU: 1450,
				Addresses: []Address{
					{
						Prefix: "192.0.2.7/24", Gateway: "192.0.2.1", DNS: []string{"192.0.2.53", "192.0.2.54"},
						Routes: []Route{{Destination: "198.51.100.0/25", NextHop: "192.0.2.2"}},
					},
					{Prefix: "2001:db8::7/64", Gateway: "2001:db8::1", DNS: []string{"192.0.2.53", "2001:db8::53"}},
				},
			},
			{PortID: "short", NetworkID: "n2", MAC: "fa:16:3e:00:00:02"},
		},
	}
}

// The rendered files are what guests parse, so each change of them must be seen and meant.
func TestFiles_MatchTheGoldenFiles(t *testing.T) {
	files, err := Files(sample())
	if err != nil {
		t.Fatal(err)
	}
	for golden, path := range map[string]string{
		"meta_data.json":           "openstack/latest/meta_data.json",
		"meta_data.2012-08-10":     "openstack/2012-08-10/meta_data.json",
		"network_data.json":        "openstack/latest/network_data.json",
		"vendor_data2.json":        "openstack/latest/vendor_data2.json",
		"ec2_meta-data.json":       "ec2/latest/meta-data.json",
		"content":                  "openstack/content/0000",
		"user_data":                "openstack/2012-08-10/user_data",
		"meta_data.2018-08-27.txt": "openstack/2018-08-27/meta_data.json",
	} {
		compareGolden(t, filepath.Join("testdata", golden), pretty(files[path]))
	}
	list := strings.Join(slices.Sorted(maps.Keys(files)), "\n") + "\n"
	compareGolden(t, "testdata/paths", []byte(list))
}

func pretty(b []byte) []byte {
	var out bytes.Buffer
	if json.Indent(&out, b, "", " ") != nil {
		return b
	}
	return out.Bytes()
}

func compareGolden(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs:\n%s", path, got)
	}
}

// "latest" must be what the newest dated version is, or a guest would see the drive change with its format.
func TestFiles_LatestIsTheNewestVersion(t *testing.T) {
	files, err := Files(sample())
	if err != nil {
		t.Fatal(err)
	}
	newest := Versions[len(Versions)-1]
	for path, content := range files {
		if rest, ok := strings.CutPrefix(path, "openstack/latest/"); ok {
			if !bytes.Equal(content, files["openstack/"+newest+"/"+rest]) {
				t.Errorf("%s is not that of %s", path, newest)
			}
		}
	}
}

// Early versions lack what came later: old guests are tested against exactly that.
func TestFiles_AVersionHasOnlyWhatItKnew(t *testing.T) {
	files, _ := Files(sample())
	for _, absent := range []string{
		"openstack/2012-08-10/vendor_data.json", "openstack/2013-10-17/network_data.json",
		"openstack/2016-06-30/vendor_data2.json",
	} {
		if _, there := files[absent]; there {
			t.Errorf("%s should not exist", absent)
		}
	}
	if bytes.Contains(files["openstack/2012-08-10/meta_data.json"], []byte("random_seed")) {
		t.Error("2012-08-10 has a random_seed")
	}
}

// A malformed address is an error that names the port, and says nothing of passwords.
func TestFiles_AMalformedAddressIsAnError(t *testing.T) {
	for name, a := range map[string]Address{
		"no prefix": {Prefix: "192.0.2.7"},
		"garbage":   {Prefix: "../etc"},
		"bad route": {Prefix: "192.0.2.7/24", Routes: []Route{{Destination: "x"}}},
	} {
		m := sample()
		m.NICs[0].Addresses = []Address{a}
		_, err := Files(m)
		if err == nil || !strings.Contains(err.Error(), m.NICs[0].PortID) || strings.Contains(err.Error(), m.AdminPass) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A guest without cards, keys or user data still gets well-formed documents with empty lists.
func TestFiles_AnEmptyGuestGetsEmptyLists(t *testing.T) {
	files, err := Files(Meta{UUID: "x"})
	if err != nil {
		t.Fatal(err)
	}
	if got := string(files["openstack/latest/network_data.json"]); got != `{"links":[],"networks":[],"services":[]}` {
		t.Error(got)
	}
	if _, there := files["openstack/latest/user_data"]; there {
		t.Error("user_data exists though none was given")
	}
}

// Whatever text a user types, the documents stay JSON, and no path leaves the drive.
func FuzzFiles(f *testing.F) {
	f.Add("name", "192.0.2.1/24", "192.0.2.0/24", "key", []byte("data"))
	f.Add("a\x00b<>&", "::/0", "::1/128", "../../x", []byte{0xff})
	f.Fuzz(func(t *testing.T, name, prefix, dest, key string, data []byte) {
		files, err := Files(Meta{
			UUID: name, Name: name, Hostname: key, UserData: data, Metadata: map[string]string{key: name},
			Keys: []Key{{Name: key, Type: "ssh", Data: name}}, Personality: []File{{Path: name, Content: data}},
			NICs: []NIC{{PortID: key, Addresses: []Address{{Prefix: prefix, Routes: []Route{{Destination: dest}}}}}},
		})
		if err != nil {
			return
		}
		for path, content := range files {
			if strings.HasSuffix(path, ".json") && !json.Valid(content) {
				t.Errorf("%s is not JSON: %q", path, content)
			}
			if strings.Contains(path, "..") {
				t.Errorf("path %q", path)
			}
		}
	})
}
