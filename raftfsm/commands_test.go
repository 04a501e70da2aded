package raftfsm

import (
	"fmt"

	"github.com/kilonova/kilonova/cluster"
)

// now is the proposers' clock. Nothing here depends on it.
const now cluster.Time = 1_800_000_000_000_000_000

var secret = cluster.Hash{1}

func hexID(n int) string { return fmt.Sprintf("%032x", n) }

func nodeRecord(n int) cluster.Node {
	return cluster.Node{
		ID: nodeID(n), Name: fmt.Sprintf("n%d", n), Address: fmt.Sprintf("192.0.2.%d", n), Zone: "nova",
		Voter: cluster.VoterAuto, Commands: cluster.CommandVersion, Version: "test",
	}
}

// firstOf is the command that makes a cluster of node n.
func firstOf(n int) cluster.Command {
	return cluster.Command{Time: now, Op: &cluster.InitCluster{
		Authority: cluster.Authority{ClusterID: "00000000-0000-4000-9000-000000000001"},
		Node:      nodeRecord(n),
		Roles:     []cluster.Role{{ID: cluster.RoleID(hexID(1)), Name: cluster.RoleAdmin}},
		Project:   cluster.Project{ID: cluster.ProjectID(hexID(1)), Name: "admin"},
		Admin:     cluster.User{ID: cluster.UserID(hexID(1)), Name: "admin"},
	}}
}

// token lets the nodes of a test enrol.
func token() cluster.Command {
	return cluster.Command{Time: now, Op: &cluster.PutJoinToken{
		Token: cluster.JoinToken{ID: "token", Hash: secret, Uses: 100},
	}}
}

func enrol(n int) cluster.Command {
	return enrolAs(nodeRecord(n))
}

func enrolAs(n cluster.Node) cluster.Command {
	return cluster.Command{Time: now, Op: &cluster.EnrolNode{Token: "token", Secret: secret, Node: n}}
}

// project makes the project with number n; again, it is refused unless the request is the same.
func project(n int) cluster.Command {
	return cluster.Command{
		ID: cluster.RequestID(fmt.Sprintf("req-project-%d", n)), Time: now,
		Op: &cluster.PutProject{Project: cluster.Project{
			ID: cluster.ProjectID(hexID(1000 + n)), Name: fmt.Sprintf("project %d", n),
		}},
	}
}

func hasProject(v *cluster.View, n int) bool {
	_, ok := v.Project(cluster.ProjectID(hexID(1000 + n)))
	return ok
}

// catalog is what instances need before they can be made, without limits.
func catalog() []cluster.Op {
	image := cluster.Image{
		ID: "00000000-0000-4000-a000-000000000001", Owner: cluster.ProjectID(hexID(1)), Name: "debian",
		Status: cluster.ImageActive, Visibility: cluster.Public,
		Data: &cluster.ImageData{Root: cluster.Hash{1}, Size: 1, Nodes: []cluster.NodeID{nodeID(1)}},
	}
	quota := cluster.Quota{Project: cluster.ProjectID(hexID(1)), Limits: map[cluster.QuotaName]int64{
		cluster.QuotaInstances: cluster.Unlimited, cluster.QuotaCores: cluster.Unlimited, cluster.QuotaRAM: cluster.Unlimited,
	}}
	return []cluster.Op{
		&cluster.PutImage{Image: image}, &cluster.PutFlavor{Flavor: small()}, &cluster.PutQuota{Quota: quota},
	}
}

func small() cluster.Flavor {
	return cluster.Flavor{ID: "1", Name: "small", VCPUs: 1, MemoryMiB: 512, DiskGiB: 5, RxTxFactor: 1}
}

// create makes one instance as the API does for one POST.
func create(n int) cluster.Command {
	id := cluster.InstanceID(fmt.Sprintf("00000000-0000-4000-b000-%012d", n))
	return cluster.Command{
		ID: cluster.RequestID(fmt.Sprintf("req-create-%d", n)), Time: now + cluster.Time(n)*1e6,
		Op: &cluster.CreateInstances{
			Request: fmt.Sprintf("req-%d", n), Project: cluster.ProjectID(hexID(1)), User: cluster.UserID(hexID(1)),
			Spec: cluster.Spec{
				Image: "00000000-0000-4000-a000-000000000001", Flavor: small(),
				Metadata: map[string]string{"role": "web"}, DiskConfig: "MANUAL",
			},
			Items: []cluster.NewInstance{{ID: id, Name: fmt.Sprintf("web-%d", n), Hostname: fmt.Sprintf("web-%d", n)}},
		},
	}
}
