package compute

import (
	"cmp"
	"crypto/rand"
	"maps"
	"math/big"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/rest"
)

const (
	// maxTogether is how many servers one request can make. They go into one command.
	maxTogether = 1000

	passwordLength = 12
	passwordChars  = "23456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz" // none that look alike
	reservedChars  = "abcdefghijklmnopqrstuvwxyz0123456789"
)

// order is a request for servers on its way to a command.
type order struct {
	*call
	body  *createBody
	want  *createServer
	image *cluster.Image
	spec  cluster.Spec
	nics  []nic
	count int

	root    *blockDevice // the volume that the server boots from; nil: it boots from its image
	local   bool         // the image to boot from was named among the devices
	devices []*blockDevice
	blanks  []*blockDevice // local disks that begin empty
}

func (c *call) createServer() error {
	if c.caller.Project == nil {
		return cluster.Errorf(cluster.Forbidden, "Policy doesn't allow os_compute_api:servers:create to be performed.")
	}
	body, err := decode[createBody](c, createSchema(c.v))
	if err != nil {
		return err
	}
	o := &order{call: c, body: &body, want: &body.Server}
	for _, step := range []func() error{o.refuseUnsupported, o.describe, o.readDevices, o.chooseImage, o.chooseFlavor, o.mayReplicate, o.chooseKey, o.schedule,
		o.chooseNetworks, o.countServers, o.checkGroups} {
		if err := step(); err != nil {
			return err
		}
	}
	res, err := c.change(o.command())
	if err != nil {
		return err
	}
	return o.answer(res)
}

func (o *order) mayReplicate() error { return replicable(&o.spec) }

// refuseUnsupported refuses what would otherwise be accepted and ignored.
func (o *order) refuseUnsupported() error {
	w := o.want
	switch {
	case len(w.Personality) > 0:
		return bad("Files cannot be put into a server. Use user_data instead of personality.")
	case len(w.Certificates) > 0:
		return bad("trusted_image_certificates are not supported.")
	}
	return nil
}

// describe takes over what needs no look at the state.
func (o *order) describe() error {
	w := o.want
	if limit := o.metadataLimit(); limit >= 0 && int64(len(w.Metadata)) > limit {
		return tooMuchMetadata(limit)
	}
	o.spec = cluster.Spec{Name: w.Name, Description: w.Description, Metadata: w.Metadata, Tags: sortedTags(w.Tags),
		Access: [2]string{canonicalIP(w.AccessIPv4), canonicalIP(w.AccessIPv6)}, DiskConfig: cmp.Or(w.DiskConfig, "MANUAL"), KeyName: w.KeyName,
		Reservation: "r-" + randomText(8, reservedChars)}
	o.spec.Boot.ConfigDrv = bool(w.ConfigDrive)
	if w.AdminPass != nil {
		o.spec.AdminPass = *w.AdminPass
	} else {
		o.spec.AdminPass = randomText(passwordLength, passwordChars)
	}
	data, err := decodeBase64(w.UserData)
	if err != nil {
		return bad("Invalid input for field/attribute user_data. Value: ***. '***' is not a 'base64'")
	}
	o.spec.UserData = data
	return nil
}

// sortedTags gives the tags in order, which is how they are kept.
func sortedTags(tags []string) []string {
	tags = slices.Clone(tags)
	slices.Sort(tags)
	return slices.Compact(tags)
}

// randomText draws n characters.
func randomText(n int, from string) string {
	b := make([]byte, n)
	for i := range b {
		k, err := rand.Int(rand.Reader, big.NewInt(int64(len(from))))
		if err != nil {
			panic("compute: no randomness: " + err.Error()) // crypto/rand promises that there is
		}
		b[i] = from[k.Int64()]
	}
	return string(b)
}

// chooseKey takes over the public key, so that the server keeps it when the key pair goes.
func (o *order) chooseKey() error {
	if o.spec.KeyName == "" {
		return nil
	}
	k, ok := o.view.KeyPair(o.caller.User.ID, o.spec.KeyName)
	if !ok {
		return bad("Invalid key_name provided.")
	}
	o.spec.PublicKey = k.PublicKey
	return nil
}

// schedule takes over where the server is to go.
func (o *order) schedule() error {
	w, s := o.want, &o.spec.Scheduling
	zone, forced, _ := strings.Cut(w.Zone, ":")
	s.Zone = zone
	if forced != "" {
		if err := o.allow("servers:create:forced_host", admin); err != nil {
			return err
		}
		host, node, _ := strings.Cut(forced, ":")
		s.Host, s.Forced = cmp.Or(host, node), true
	}
	if w.Host != "" || w.Hypervisor != "" {
		if err := o.allow("compute:servers:create:requested_destination", admin); err != nil {
			return err
		}
		if s.Forced {
			return bad("Only one of availability_zone with a host and host or hypervisor_hostname can be given.")
		}
		s.Host = cmp.Or(w.Host, w.Hypervisor)
		if w.Hypervisor != "" && w.Hypervisor != s.Host {
			return bad("No valid host was found. %s is not the hypervisor of host %s.", w.Hypervisor, w.Host)
		}
	}
	if s.Host != "" {
		if n, ok := o.view.NodeNamed(s.Host); !ok || n.Witness {
			return bad("Compute host %s could not be found.", s.Host)
		}
	}
	if s.Zone != "" && !slices.Contains(o.zones(), s.Zone) {
		return bad("The requested availability zone is not available")
	}
	return o.readHints()
}

// zones are the availability zones that have a node which takes servers.
func (c *call) zones() []string {
	seen := map[string]bool{}
	for n := range c.view.Hypervisors() {
		if !n.Service.Disabled && !n.Service.Draining {
			seen[c.view.ZoneOf(n)] = true
		}
	}
	return slices.Sorted(maps.Keys(seen))
}

// countServers decides how many servers are made: as many of max_count as the quota has room for, but not fewer than
// min_count.
func (o *order) countServers() error {
	least, most := 1, 1
	if o.want.Min != nil {
		least = int(*o.want.Min)
		most = least
	}
	if o.want.Max != nil {
		most = int(*o.want.Max)
		if o.want.Min == nil {
			least = 1
		}
	}
	switch {
	case least > most:
		return bad("min_count must be <= max_count")
	case most > maxTogether:
		return bad("Invalid input for field/attribute max_count. Value: %d. %d is greater than the maximum of %d", most, most, maxTogether)
	}
	if most > 1 {
		if err := o.refuseShared(); err != nil {
			return err
		}
		if err := o.refuseSharedVolumes(); err != nil {
			return err
		}
	}
	o.count = max(least, min(most, o.room()))
	return nil
}

// room is how many servers of the order the quotas of the project and of the user still have room for.
func (o *order) room() int {
	room := int64(maxTogether)
	project := o.caller.ProjectID()
	for name, each := range map[cluster.QuotaName]int64{
		cluster.QuotaInstances: 1, cluster.QuotaCores: o.spec.Flavor.VCPUs, cluster.QuotaRAM: o.spec.Flavor.MemoryMiB,
	} {
		for _, who := range []quotaOwner{{project: project}, {project, o.caller.User.ID}} {
			if limit := who.limit(o.view, name); limit >= 0 && each > 0 {
				room = min(room, max(0, limit-who.used(o.view, name))/each)
			}
		}
	}
	return int(room)
}

// command makes the command. Everything random is drawn here.
func (o *order) command() *cluster.CreateInstances {
	op := &cluster.CreateInstances{Request: o.caller.RequestID, Project: o.caller.ProjectID(), User: o.caller.User.ID, Spec: o.spec}
	for i := range o.count {
		item := cluster.NewInstance{ID: cluster.InstanceID(rest.NewUUID()), Name: o.spec.Name, Hostname: o.want.Hostname}
		if o.count > 1 {
			suffix := "-" + strconv.Itoa(i+1)
			item.Name += suffix
			if item.Hostname != "" {
				item.Hostname += suffix
			}
		}
		if item.Hostname == "" {
			item.Hostname = hostnameOf(item.Name, item.ID)
		}
		for _, n := range o.nics {
			item.Ports = append(item.Ports, o.port(n))
		}
		item.Volumes = o.volumes(item.Name)
		op.Items = append(op.Items, item)
	}
	op.Spec.Hostname = op.Items[0].Hostname
	return op
}

// maxHostname is how long a host name may be (RFC 1123).
const maxHostname = 63

// hostnameOf makes a host name of a server's name, as Nova does.
func hostnameOf(name string, id cluster.InstanceID) string {
	var b strings.Builder
	for _, r := range strings.ToLower(name) {
		switch {
		case r == ' ' || r == '_':
			b.WriteByte('-')
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '-', r == '.':
			b.WriteRune(r)
		}
	}
	h := b.String()
	if len(h) > maxHostname {
		h = h[:maxHostname]
	}
	if h = strings.Trim(h, ".-"); h == "" {
		return "server-" + string(id)
	}
	return h
}

// answer shows the first of the servers that were made, or the reservation of all.
func (o *order) answer(res cluster.Result) error {
	if len(res.IDs) == 0 {
		return cluster.Errorf(cluster.Internal, "creating servers made none")
	}
	id := res.IDs[0]
	in, ok := o.view.Instance(cluster.InstanceID(id))
	if ok { // else it is gone already, and this is a repetition
		o.spec.AdminPass, o.spec.Reservation, o.spec.DiskConfig = in.Spec.AdminPass, in.Spec.Reservation, in.Spec.DiskConfig
	}
	var j writer
	if o.want.Reservation {
		j.open('{').field("reservation_id", o.spec.Reservation).close('}')
		return o.send(http.StatusAccepted, &j)
	}
	self := o.links.self + "/servers/" + id
	j.open('{').key("server").open('{').field("id", id).key("links").open('[')
	writeLink(&j, "self", self)
	writeLink(&j, "bookmark", o.links.bookmark+"/servers/"+id)
	j.close(']').field("OS-DCF:diskConfig", o.spec.DiskConfig).key("security_groups").open('[')
	for _, name := range o.groupNames() {
		j.open('{').field("name", name).close('}')
	}
	j.close(']').field("adminPass", o.spec.AdminPass).close('}').close('}')
	o.w.Header().Set("Location", self)
	return o.send(http.StatusAccepted, &j)
}
