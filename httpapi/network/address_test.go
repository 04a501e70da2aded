package network_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/kilonova/kilonova/cluster"
)

// TestSubnet_DefaultsAreNeutrons makes subnets of many sizes. The first address is the gateway and all others but the
// reserved ones are for guests, unless the request says otherwise.
func TestSubnet_DefaultsAreNeutrons(t *testing.T) {
	for _, x := range []struct {
		attributes, cidr string
		gateway          any
		pools            string
	}{
		{`"cidr":"10.0.0.0/24"`, "10.0.0.0/24", "10.0.0.1", "10.0.0.2-10.0.0.254"},
		{`"cidr":"10.0.0.77/24"`, "10.0.0.0/24", "10.0.0.1", "10.0.0.2-10.0.0.254"},
		{`"cidr":"10.0.0.0/24","gateway_ip":"10.0.0.254"`, "10.0.0.0/24", "10.0.0.254", "10.0.0.1-10.0.0.253"},
		{`"cidr":"10.0.0.0/24","gateway_ip":"10.0.0.100"`, "10.0.0.0/24", "10.0.0.100", "10.0.0.1-10.0.0.99 10.0.0.101-10.0.0.254"},
		{`"cidr":"10.0.0.0/24","gateway_ip":null`, "10.0.0.0/24", nil, "10.0.0.1-10.0.0.254"},
		{`"cidr":"10.0.0.0/24","allocation_pools":[{"start":"10.0.0.10","end":"10.0.0.20"}]`, "10.0.0.0/24", "10.0.0.1", "10.0.0.10-10.0.0.20"},
		{`"cidr":"10.0.0.0/30"`, "10.0.0.0/30", "10.0.0.1", "10.0.0.2-10.0.0.2"},
		{`"cidr":"10.0.0.0/31"`, "10.0.0.0/31", nil, "10.0.0.0-10.0.0.1"},
		{`"cidr":"10.0.0.9/32"`, "10.0.0.9/32", nil, "10.0.0.9-10.0.0.9"},
		{`"cidr":"fd00::/64","ip_version":6`, "fd00::/64", "fd00::1", "fd00::2-fd00::ffff:ffff:ffff:ffff"},
		{`"cidr":"FD00:0:0::/126","ip_version":6`, "fd00::/126", "fd00::1", "fd00::2-fd00::3"},
	} {
		a := newAPI(t)
		n := a.network("demo", `"name":"lan"`)
		version := ""
		if !strings.Contains(x.attributes, "ip_version") {
			version = `"ip_version":4,`
		}
		s := a.want(201, "POST", "/v2.0/subnets", "demo", fmt.Sprintf(`{"subnet":{"network_id":%q,%s%s}}`, n, version, x.attributes))["subnet"].(map[string]any)
		var pools []string
		for _, p := range s["allocation_pools"].([]any) {
			pools = append(pools, str(t, p, "start")+"-"+str(t, p, "end"))
		}
		if s["cidr"] != x.cidr || s["gateway_ip"] != x.gateway || strings.Join(pools, " ") != x.pools {
			t.Errorf("%s: got %v, gateway %v, pools %v", x.attributes, s["cidr"], s["gateway_ip"], pools)
		}
	}
}

// TestPort_AddressesAreTheLowestFreeOnes fills a small subnet. Each port gets the lowest address; one that is freed is
// given out again; when there is none left, the refusal says so.
func TestPort_AddressesAreTheLowestFreeOnes(t *testing.T) {
	a := newAPI(t)
	n := a.network("demo", `"name":"lan"`)
	a.subnet("demo", n, `"cidr":"10.0.0.0/29"`)
	var got []string
	var second string
	for i := range 5 {
		p := a.port("demo", n, "")
		got = append(got, address(t, p))
		if i == 1 {
			second = p["id"].(string)
		}
	}
	if want := "10.0.0.2 10.0.0.3 10.0.0.4 10.0.0.5 10.0.0.6"; strings.Join(got, " ") != want {
		t.Errorf("addresses %v instead of %s", got, want)
	}
	body := fmt.Sprintf(`{"port":{"network_id":%q}}`, n)
	if m := a.refused(409, "IpAddressGenerationFailure", "POST", "/v2.0/ports", "demo", body); !strings.Contains(m, "No more IP addresses available on network "+n) {
		t.Error(m)
	}
	a.want(204, "DELETE", "/v2.0/ports/"+second, "demo", "")
	if again := address(t, a.port("demo", n, "")); again != "10.0.0.3" {
		t.Errorf("the freed address is not given out again, but %s", again)
	}
}

// TestPort_GetsAnAddressOfEachVersion makes a network with subnets of both.
func TestPort_GetsAnAddressOfEachVersion(t *testing.T) {
	a := newAPI(t)
	n := a.network("demo", `"name":"lan"`)
	a.subnet("demo", n, `"cidr":"10.0.0.0/24"`)
	a.want(201, "POST", "/v2.0/subnets", "demo", fmt.Sprintf(`{"subnet":{"network_id":%q,"ip_version":6,"cidr":"fd00::/64"}}`, n))
	var got []string
	for _, ip := range a.port("demo", n, "")["fixed_ips"].([]any) {
		got = append(got, str(t, ip, "ip_address"))
	}
	if len(got) != 2 || !strings.Contains(strings.Join(got, " "), "10.0.0.2") || !strings.Contains(strings.Join(got, " "), "fd00::2") {
		t.Errorf("addresses %v", got)
	}
}

// TestPort_AddressesByName asks for addresses in each way there is, and for such as may not be had.
func TestPort_AddressesByName(t *testing.T) {
	a := newAPI(t)
	n, other := a.network("demo", `"name":"lan"`), a.network("demo", `"name":"other"`)
	sub := a.subnet("demo", n, `"cidr":"10.0.0.0/24"`)
	foreign := a.subnet("demo", other, `"cidr":"10.9.0.0/24"`)
	for attributes, want := range map[string]string{
		`"fixed_ips":[{"ip_address":"10.0.0.50"}]`:                                  "10.0.0.50",
		fmt.Sprintf(`"fixed_ips":[{"subnet_id":%q,"ip_address":"10.0.0.51"}]`, sub): "10.0.0.51",
		fmt.Sprintf(`"fixed_ips":[{"subnet_id":%q}]`, sub):                          "10.0.0.2",
	} {
		if got := address(t, a.port("demo", n, attributes)); got != want {
			t.Errorf("%s: address %s instead of %s", attributes, got, want)
		}
	}
	for _, x := range []struct {
		status     int
		kind       string
		attributes string
	}{
		{409, "IpAddressInUse", `"fixed_ips":[{"ip_address":"10.0.0.50"}]`},
		{400, "InvalidIpForSubnet", `"fixed_ips":[{"ip_address":"10.0.0.255"}]`},
		{400, "InvalidIpForSubnet", fmt.Sprintf(`"fixed_ips":[{"subnet_id":%q,"ip_address":"10.1.0.1"}]`, sub)},
		{400, "InvalidInput", `"fixed_ips":[{"ip_address":"10.200.0.1"}]`},
		{400, "InvalidInput", fmt.Sprintf(`"fixed_ips":[{"subnet_id":%q}]`, foreign)},
		{400, "InvalidInput", `"fixed_ips":[{"subnet_id":"nope"}]`},
		{400, "HTTPBadRequest", `"fixed_ips":[{"ip_address":"10.0.0.256"}]`},
		{400, "HTTPBadRequest", `"fixed_ips":[{"ip_address":7}]`},
		{400, "HTTPBadRequest", `"fixed_ips":"10.0.0.1"`},
	} {
		a.refused(x.status, x.kind, "POST", "/v2.0/ports", "demo", fmt.Sprintf(`{"port":{"network_id":%q,%s}}`, n, x.attributes))
	}
}

// TestPort_CanBeMadeBare asks for a port that has no address, as a guest does that finds its own.
func TestPort_CanBeMadeBare(t *testing.T) {
	a := newAPI(t)
	n := a.network("demo", `"name":"lan"`)
	a.subnet("demo", n, `"cidr":"10.0.0.0/24"`)
	if ips := a.port("demo", n, `"fixed_ips":[]`)["fixed_ips"].([]any); len(ips) != 0 {
		t.Errorf("fixed_ips %v", ips)
	}
}

// TestPort_UpdateMovesIt takes the addresses off a port and gives it others. What it had is free again.
func TestPort_UpdateMovesIt(t *testing.T) {
	a := newAPI(t)
	n := a.network("demo", `"name":"lan"`)
	a.subnet("demo", n, `"cidr":"10.0.0.0/24"`)
	id := a.port("demo", n, "")["id"].(string)
	none := a.want(200, "PUT", "/v2.0/ports/"+id, "demo", `{"port":{"fixed_ips":[]}}`)["port"].(map[string]any)
	if ips := none["fixed_ips"].([]any); len(ips) != 0 {
		t.Errorf("fixed_ips %v", ips)
	}
	moved := a.want(200, "PUT", "/v2.0/ports/"+id, "demo", `{"port":{"fixed_ips":[{"ip_address":"10.0.0.9"}],"name":"p"}}`)["port"].(map[string]any)
	if address(t, moved) != "10.0.0.9" || moved["name"] != "p" {
		t.Errorf("port %v", moved)
	}
	if got := address(t, a.port("demo", n, "")); got != "10.0.0.2" {
		t.Errorf("the address that was given up is not free: %s", got)
	}
	a.refused(409, "IpAddressInUse", "PUT", "/v2.0/ports/"+id, "demo", `{"port":{"fixed_ips":[{"ip_address":"10.0.0.2"}]}}`)
	a.refused(400, "HTTPBadRequest", "PUT", "/v2.0/ports/"+id, "demo", `{"port":{"network_id":"x"}}`)
	if got := address(t, a.want(200, "GET", "/v2.0/ports/"+id, "demo", "")["port"].(map[string]any)); got != "10.0.0.9" {
		t.Errorf("a refused update changed the address to %s", got)
	}
}

// TestPort_MAC takes MAC addresses in any spelling, refuses groups and what is taken on the same bridges, and else makes one of its own.
func TestPort_MAC(t *testing.T) {
	a := newAPI(t)
	n, other := a.network("demo", `"name":"lan"`), a.network("demo", `"name":"other"`)
	if got := a.port("demo", n, `"mac_address":"02-00-00-AA-BB-CC"`)["mac_address"]; got != "02:00:00:aa:bb:cc" {
		t.Errorf("MAC %v", got)
	}
	drawn := a.port("demo", n, "")["mac_address"].(string)
	if !strings.HasPrefix(drawn, "fa:") || len(drawn) != 17 {
		t.Errorf("drawn MAC %s", drawn)
	}
	body := `{"port":{"network_id":"` + n + `","mac_address":%q}}`
	a.refused(409, "MacAddressInUse", "POST", "/v2.0/ports", "demo", fmt.Sprintf(body, "02:00:00:aa:bb:cc"))
	a.refused(409, "MacAddressInUse", "POST", "/v2.0/ports", "demo", `{"port":{"network_id":"`+other+`","mac_address":"02:00:00:aa:bb:cc"}}`)
	a.Node.Bridges = map[string]string{"lan": "br0", "wan": "br1"}
	a.Must(&cluster.UpdateNode{Node: a.Node})
	wan := a.network("admin", `"name":"wan","provider:physical_network":"wan"`)
	a.port("admin", wan, `"mac_address":"02:00:00:aa:bb:cc"`)                 // other bridges are another segment
	mine := a.port("demo", n, `"device_owner":"network:dhcp"`)["id"].(string) // on one's own network this is nobody else's business
	a.refused(409, "MacAddressInUse", "PUT", "/v2.0/ports/"+mine, "admin", `{"port":{"mac_address":"02:00:00:aa:bb:cc"}}`)
	for _, bad := range []string{"01:00:00:00:00:01", "ff:ff:ff:ff:ff:ff", "02:00:00", "nonsense", "02:00:00:aa:bb:cc:dd:ee", ""} {
		a.refused(400, "HTTPBadRequest", "POST", "/v2.0/ports", "demo", fmt.Sprintf(body, bad))
	}
}

// TestSubnet_UpdateKeepsTheRest changes one attribute after another. The others stay, and the range cannot change.
func TestSubnet_UpdateKeepsTheRest(t *testing.T) {
	a := newAPI(t)
	n := a.network("demo", `"name":"lan"`)
	id := a.subnet("demo", n, `"cidr":"10.0.0.0/24","dns_nameservers":["10.0.0.1"],"host_routes":[{"destination":"10.5.0.0/16","nexthop":"10.0.0.7"}]`)
	before := a.want(200, "GET", "/v2.0/subnets/"+id, "demo", "")["subnet"].(map[string]any)
	after := a.want(200, "PUT", "/v2.0/subnets/"+id, "demo", `{"subnet":{"name":"s","enable_dhcp":false,"gateway_ip":null}}`)["subnet"].(map[string]any)
	for key, want := range map[string]any{
		"name": "s", "enable_dhcp": false, "gateway_ip": nil, "cidr": "10.0.0.0/24",
		"dns_nameservers": before["dns_nameservers"], "host_routes": before["host_routes"], "allocation_pools": before["allocation_pools"],
	} {
		if !reflect.DeepEqual(after[key], want) {
			t.Errorf("%s is %v instead of %v", key, after[key], want)
		}
	}
	if after["revision_number"].(float64) <= before["revision_number"].(float64) {
		t.Error("the revision number did not grow")
	}
	for _, bad := range []string{`"cidr":"10.0.0.0/25"`, `"network_id":"x"`, `"ip_version":6`, `"project_id":"x"`} {
		a.refused(400, "HTTPBadRequest", "PUT", "/v2.0/subnets/"+id, "demo", `{"subnet":{`+bad+`}}`)
	}
}
