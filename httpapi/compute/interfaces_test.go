package compute_test

import (
	"testing"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/rest"
)

// Cards come and go: one on a named network, one with a wanted address, one that is a port already, one on the only network.
func TestInterfaces_AreAttachedAndDetached(t *testing.T) {
	l := newLab(t)
	id := l.server("demo", "s", nil)
	path := "/servers/" + string(id) + "/os-interface"
	attach := func(what object) *answer {
		return l.do("demo", "2.70", "POST", path, object{"interfaceAttachment": what})
	}
	l.golden("425-server-add-fixed-ip#7", attach(object{"net_id": l.network}))
	wanted := attach(object{"net_id": l.network, "fixed_ips": []object{{"ip_address": "10.78.0.77"}}}).want(200)
	if got := wanted.text("interfaceAttachment", "fixed_ips", 0, "ip_address"); got != "10.78.0.77" {
		t.Errorf("address is %s", got)
	}
	port := cluster.Port{ID: cluster.PortID(rest.NewUUID()), Project: l.Projs["demo"], Network: l.network, MAC: "fa:16:3e:00:00:01"}
	l.Must(&cluster.PutPort{Port: port})
	l.golden("424-server-add-port#7", attach(object{"port_id": port.ID}))
	l.do("demo", "2.1", "POST", path, object{}).want(200)
	if n := l.do("demo", "2.70", "GET", path, nil).count("interfaceAttachments"); n != 4 {
		t.Errorf("%d cards", n)
	}
	attach(object{"port_id": port.ID}).fails(409, "Port "+string(port.ID)+" is still in use.")
	attach(object{"net_id": l.network, "fixed_ips": []object{{"ip_address": "10.78.0.77"}}}).fails(409, "10.78.0.77")
	l.golden("427-server-remove-port#7", l.do("demo", "2.70", "DELETE", path+"/"+string(port.ID), nil))
	if p, ok := l.Local().Port(port.ID); !ok || p.Device != "" {
		t.Errorf("the port that was there before is %+v", p)
	}
	made := wanted.text("interfaceAttachment", "port_id")
	l.do("demo", "", "DELETE", path+"/"+made, nil).want(202)
	if _, ok := l.Local().Port(cluster.PortID(made)); ok {
		t.Error("the port that was made for the server is still there")
	}
	l.do("demo", "", "DELETE", path+"/"+made, nil).fails(404, "Port "+made)
}

// What cannot be attached is refused, in Nova's words.
func TestInterfaces_BadOnesAreRefused(t *testing.T) {
	l := newLab(t)
	id := l.server("demo", "s", nil)
	path := "/servers/" + string(id) + "/os-interface"
	for _, c := range []struct {
		version string
		body    object
		status  int
		says    string
	}{
		{"", object{"net_id": l.network, "port_id": nobody}, 400, "Must not input both network_id and port_id"},
		{"", object{"fixed_ips": []object{{"ip_address": "10.78.0.9"}}}, 400, "Must input network_id when request IP address"},
		{"", object{"net_id": nobody}, 404, "Network " + nobody + " could not be found."},
		{"", object{"port_id": nobody}, 404, "Port id " + nobody + " could not be found."},
		{"", object{"net_id": "x"}, 400, "net_id"},
		{"", object{"net_id": l.network, "fixed_ips": []object{}}, 400, "fixed_ips"},
		{"", object{"net_id": l.network, "fixed_ips": []object{{"ip_address": "x"}}}, 400, "ip_address"},
		{"", object{"net_id": l.network, "fixed_ips": []object{{"ip_address": "192.0.2.1"}}}, 400, "not a valid ip address"},
		{"", object{"tag": "x"}, 400, "('tag' was unexpected)"},
		{"2.49", object{"net_id": l.network, "tag": "x"}, 400, "Tagged network interface attachment is not supported"},
	} {
		l.do("demo", c.version, "POST", path, object{"interfaceAttachment": c.body}).fails(c.status, c.says)
	}
	l.addNetwork("second", "demo", "10.79.0.0/24")
	l.do("demo", "", "POST", path, object{}).fails(400, "Multiple possible networks found")
	l.do("other", "", "POST", path, object{}).fails(404, "could not be found")
	l.act("demo", "", id, object{"suspend": nil}).want(202)
	l.do("demo", "", "POST", path, object{"interfaceAttachment": object{"net_id": l.network}}).
		fails(409, "Cannot 'attach_interface' instance "+string(id)+" while it is in task_state suspending")
}

// Before 2.44 a server was given another address by an action, and lost it by another.
func TestAddresses_AreAddedAndRemoved(t *testing.T) {
	l := newLab(t)
	id := l.server("demo", "s", object{"networks": []object{{"uuid": l.network}}})
	addresses := func() []cluster.FixedIP {
		p, _ := l.Local().Port(l.instance(id).Ports[0])
		return p.FixedIPs
	}
	l.act("demo", "", id, object{"addFixedIp": object{"networkId": l.network}}).want(202)
	all := addresses()
	if len(all) != 2 {
		t.Fatalf("addresses: %v", all)
	}
	l.act("demo", "", id, object{"removeFixedIp": object{"address": all[0].Address}}).want(202)
	if left := addresses(); len(left) != 1 || left[0] != all[1] {
		t.Errorf("addresses: %v", left)
	}
}
