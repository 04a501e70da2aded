package configdrive

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Versions are the dated versions of the metadata format, oldest first, as Nova's guide for users lists them.
// "latest" equals the last.
var Versions = []string{
	"2012-08-10", "2013-04-04", "2013-10-17", "2015-10-15", "2016-06-30",
	"2016-10-06", "2017-02-22", "2018-08-27", "2020-10-14",
}

// The versions that first had a file or a key.
const (
	withRandomSeed    = "2013-04-04"
	withVendorData    = "2013-10-17"
	withNetworkData   = "2015-10-15" // and project_id
	withDevices       = "2016-06-30"
	withVendorData2   = "2016-10-06"
	withDedicatedCPUs = "2020-10-14"
)

// latest is the name of the newest version.
const latest = "latest"

// Files renders the drive: the path of each file, without a leading slash, and its content. It fails only
// when an address, prefix or route of Meta is malformed.
func Files(m Meta) (map[string][]byte, error) {
	network, err := networkData(m.NICs)
	if err != nil {
		return nil, fmt.Errorf("render network data of instance %s: %w", m.UUID, err)
	}
	out := map[string][]byte{}
	for _, v := range append(slices.Clone(Versions), latest) {
		base := "openstack/" + v + "/"
		out[base+"meta_data.json"] = encode(metaData(m, v))
		if m.UserData != nil {
			out[base+"user_data"] = m.UserData
		}
		if v >= withVendorData { // "latest" sorts after every date
			out[base+"vendor_data.json"] = encode(struct{}{})
		}
		if v >= withNetworkData {
			out[base+"network_data.json"] = encode(network)
		}
		if v >= withVendorData2 {
			out[base+"vendor_data2.json"] = encode(map[string]any{"static": struct{}{}})
		}
	}
	for i, f := range m.Personality {
		out["openstack"+contentPath(i)] = f.Content
	}
	for _, v := range []string{"2009-04-04", latest} {
		out["ec2/"+v+"/meta-data.json"] = encode(ec2Data(m))
		if m.UserData != nil {
			out["ec2/"+v+"/user-data"] = m.UserData
		}
	}
	return out, nil
}

// metaData gives meta_data.json as the version v has it.
func metaData(m Meta, v string) map[string]any {
	d := map[string]any{
		"uuid":              m.UUID,
		"name":              m.Name,
		"hostname":          m.Hostname,
		"launch_index":      m.LaunchIndex,
		"availability_zone": m.AvailabilityZone,
	}
	if len(m.Metadata) > 0 {
		d["meta"] = m.Metadata
	}
	if len(m.Keys) > 0 {
		d["public_keys"], d["keys"] = publicKeys(m.Keys)
	}
	if m.AdminPass != "" {
		d["admin_pass"] = m.AdminPass
	}
	if len(m.Personality) > 0 {
		d["files"] = personality(m.Personality)
	}
	if v >= withRandomSeed && m.RandomSeed != nil {
		d["random_seed"] = m.RandomSeed // encoding/json gives base64
	}
	if v >= withNetworkData {
		d["project_id"] = m.ProjectID
	}
	if v >= withDevices {
		d["devices"] = []any{}
	}
	if v >= withDedicatedCPUs {
		d["dedicated_cpus"] = []int{}
	}
	return d
}

// publicKeys gives both forms in which metadata names keys. The first has SSH keys only.
func publicKeys(keys []Key) (map[string]string, []map[string]string) {
	byName := map[string]string{}
	var list []map[string]string
	for _, k := range keys {
		if k.Type == "ssh" {
			byName[k.Name] = k.Data
		}
		list = append(list, map[string]string{"name": k.Name, "type": k.Type, "data": k.Data})
	}
	return byName, list
}

func personality(files []File) []map[string]string {
	var list []map[string]string
	for i, f := range files {
		list = append(list, map[string]string{"path": f.Path, "content_path": contentPath(i)})
	}
	return list
}

// contentPath names the i-th injected file. The guest's own path never becomes a name on the drive.
func contentPath(i int) string { return fmt.Sprintf("/content/%04d", i) }

// ec2Data gives the EC2 view of the metadata that old images read.
func ec2Data(m Meta) map[string]any {
	d := map[string]any{
		"ami-launch-index": m.LaunchIndex,
		"hostname":         m.Hostname,
		"instance-id":      ec2InstanceID(m.UUID),
		"instance-type":    m.FlavorName,
		"local-hostname":   m.Hostname,
		"placement":        map[string]any{"availability-zone": m.AvailabilityZone},
		"public-hostname":  m.Hostname,
	}
	if ip := firstIPv4(m.NICs); ip != "" {
		d["local-ipv4"] = ip
	}
	if len(m.Keys) > 0 {
		keys := map[string]any{}
		for i, k := range m.Keys {
			keys[fmt.Sprint(i)] = map[string]string{"_name": fmt.Sprintf("%d=%s", i, k.Name), "openssh-key": k.Data}
		}
		d["public-keys"] = keys
	}
	return d
}

// ec2InstanceID shortens a UUID to the form of an EC2 ID. It only has to be stable and different from one
// instance to the next: guests compare it to see whether this is their first boot.
func ec2InstanceID(uuid string) string {
	hexOnly := strings.ReplaceAll(uuid, "-", "")
	return "i-" + hexOnly[:min(len(hexOnly), 17)]
}

// encode renders JSON without escaping <, > and &, as Python's json does.
func encode(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(fmt.Sprintf("configdrive: its own maps of strings do not encode: %v", err))
	}
	return bytes.TrimRight(b.Bytes(), "\n")
}

// sortedPaths gives the paths of a drive in a fixed order.
func sortedPaths(files map[string][]byte) []string {
	return slices.Sorted(maps.Keys(files))
}
