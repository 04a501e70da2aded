package compute_test

import (
	"testing"

	"github.com/kilonova/kilonova/cluster"
)

// A server asks for a second copy of its disk. Where only a part of what it has would be copied, that is said at once, whether the server asks or its
// flavor, and whether it asks when it is made, later, or gets another flavor.
func TestReplicas_WhatCouldNotBeCopiedIsRefused(t *testing.T) {
	l := newLab(t)
	flavor := func(name string, ephemeral int) string {
		return l.do("admin", "", "POST", "/flavors", object{"flavor": object{"name": name, "ram": 64, "vcpus": 1, "disk": 1,
			"OS-FLV-EXT-DATA:ephemeral": ephemeral, "swap": 64}}).want(200).text("flavor", "id")
	}
	plain, scratch, both := flavor("plain", 0), flavor("scratch", 2), flavor("both", 2)
	l.do("admin", "", "POST", "/flavors/"+both+"/os-extra_specs", object{"extra_specs": object{"kilonova:replicas": "2"}}).want(200)
	ask := func(of string, metadata object) *answer {
		return l.do("demo", "2.92", "POST", "/servers", object{"server": object{"name": "x", "flavorRef": of, "imageRef": l.image, "networks": "none",
			"metadata": metadata}})
	}
	two := object{"kilonova:replicas": "2"}
	ask(scratch, two).fails(400, "no second copy")
	ask(both, object{}).fails(400, "no second copy")
	ask(plain, object{"kilonova:replicas": "3"}).fails(400, "is 1 or 2")
	ask(both, object{"kilonova:replicas": "1"}).want(202)
	id := ask(plain, two).want(202).text("server", "id")
	l.boot(cluster.InstanceID(id))
	l.do("demo", "", "POST", "/servers/"+id+"/action", object{"resize": object{"flavorRef": scratch}}).fails(400, "no second copy")
	other := ask(scratch, object{}).want(202).text("server", "id")
	l.boot(cluster.InstanceID(other))
	l.do("demo", "", "POST", "/servers/"+other+"/metadata", object{"metadata": two}).fails(400, "no second copy")
	l.do("demo", "", "PUT", "/servers/"+other+"/metadata/kilonova:replicas", object{"meta": two}).fails(400, "no second copy")
}
