package resttest

import (
	"strings"
	"testing"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/rest"
)

// Cloud is a Backend with a node, three projects and their people:
//
//	user    role    project   token
//	admin   admin   admin     "admin"    (and in the system: "admin@system")
//	demo    member  demo      "demo"
//	viewer  reader  demo      "viewer"
//	other   member  other     "other"
//
// It is a rest.Verifier for those tokens, and for "user@project" in general, so that services are tested without
// Keystone.
type Cloud struct {
	*Backend
	Node  cluster.Node
	Roles map[string]cluster.RoleID    // by name
	Users map[string]cluster.UserID    // by name
	Projs map[string]cluster.ProjectID // by name
}

// NewCloud makes a Cloud.
func NewCloud(t testing.TB) *Cloud { return NewCloudWith(t, "") }

// NewCloudWith makes a Cloud in which everybody's password has that hash.
func NewCloudWith(t testing.TB, passwordHash string) *Cloud {
	c := &Cloud{
		Backend: NewBackend(t), Roles: map[string]cluster.RoleID{}, Users: map[string]cluster.UserID{}, Projs: map[string]cluster.ProjectID{},
		Node: cluster.Node{
			ID: cluster.NodeID(rest.NewUUID()), Name: "node-1", Address: "127.0.0.1", Zone: "nova", Version: "test", Commands: cluster.CommandVersion,
			Capacity: cluster.Capacity{VCPUs: 64, MemoryMiB: 256 << 10, DiskGiB: 4000, VCPURatio: 4000, MemoryRatio: 1000, DiskRatio: 1000},
			Host: cluster.HostFacts{
				Type: "QEMU", Version: 7002000, Arch: "x86_64", CPUModel: "Nehalem", CPUVendor: "Intel", Sockets: 1, Cores: 32, Threads: 2, Ready: true,
			},
			Bridges: map[string]string{"lan": "br0"}, Open: []string{"lan"},
		},
	}
	now := cluster.At(time.Now())
	init := &cluster.InitCluster{
		Authority: cluster.Authority{
			ClusterID: rest.NewUUID(), CACert: []byte{1}, CAKey: []byte{2}, GossipKeys: [][]byte{make([]byte, 32)},
			TokenKeys: []cluster.SigningKey{{ID: "testkey", Seed: []byte("0123456789abcdef0123456789abcdef"), Created: now}},
		},
		Node:    c.Node,
		Project: cluster.Project{ID: c.newProject("admin"), Name: "admin"},
		Admin:   cluster.User{ID: c.newUser("admin"), Name: "admin", PasswordHash: passwordHash, PasswordSet: now},
	}
	for _, name := range []string{cluster.RoleAdmin, cluster.RoleMember, cluster.RoleReader} {
		c.Roles[name] = cluster.RoleID(rest.NewHexID())
		init.Roles = append(init.Roles, cluster.Role{ID: c.Roles[name], Name: name, BuiltIn: true})
	}
	c.Must(init)
	for _, name := range []string{"demo", "other"} {
		c.Must(&cluster.PutProject{Project: cluster.Project{ID: c.newProject(name), Name: name, Description: "Project " + name}})
	}
	for _, who := range []struct{ user, project, role string }{
		{"demo", "demo", cluster.RoleMember}, {"viewer", "demo", cluster.RoleReader}, {"other", "other", cluster.RoleMember},
	} {
		c.Must(&cluster.PutUser{User: cluster.User{ID: c.newUser(who.user), Name: who.user, PasswordHash: passwordHash, PasswordSet: now}})
		c.Must(&cluster.PutAssignment{Assignment: cluster.Assignment{User: c.Users[who.user], Project: c.Projs[who.project], Role: c.Roles[who.role]}})
	}
	return c
}

func (c *Cloud) newProject(name string) cluster.ProjectID {
	c.Projs[name] = cluster.ProjectID(rest.NewHexID())
	return c.Projs[name]
}

func (c *Cloud) newUser(name string) cluster.UserID {
	c.Users[name] = cluster.UserID(rest.NewHexID())
	return c.Users[name]
}

// home is the project of the short tokens.
var home = map[string]string{"admin": "admin", "demo": "demo", "viewer": "demo", "other": "other"}

// Verify knows the tokens of the table above.
func (c *Cloud) Verify(view *cluster.View, token string, _ time.Time) (*rest.Caller, error) {
	name, where, scoped := strings.Cut(token, "@")
	if !scoped {
		where = home[name]
	}
	refused := cluster.Errorf(cluster.Unauthorized, "unknown token")
	u, ok := view.UserNamed(name)
	if !ok {
		return nil, refused
	}
	caller := &rest.Caller{User: u, System: where == "system", TokenID: cluster.TokenID("token-" + name)}
	if !caller.System {
		if caller.Project, ok = view.ProjectNamed(where); !ok {
			return nil, refused
		}
	}
	for a := range view.AssignmentsOf(u.ID) {
		if a.Project == caller.ProjectID() {
			caller.Roles = append(caller.Roles, implied(view, a.Role)...)
		}
	}
	if len(caller.Roles) == 0 {
		return nil, refused
	}
	return caller, nil
}

// implied gives a role and those that it implies.
func implied(view *cluster.View, id cluster.RoleID) []*cluster.Role {
	order := []string{cluster.RoleAdmin, cluster.RoleMember, cluster.RoleReader}
	role, ok := view.Role(id)
	if !ok {
		return nil
	}
	for i, name := range order {
		if name != role.Name {
			continue
		}
		var all []*cluster.Role
		for _, n := range order[i:] {
			if r, ok := view.RoleNamed(n); ok {
				all = append(all, r)
			}
		}
		return all
	}
	return []*cluster.Role{role}
}
