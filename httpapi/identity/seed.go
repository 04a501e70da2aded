package identity

import (
	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/rest"
)

// Founders are who and what a new cluster begins with: fields of cluster.InitCluster.
type Founders struct {
	Roles   []cluster.Role // admin, member, reader
	Project cluster.Project
	Admin   cluster.User
}

// The name of the first project and of its administrator.
const (
	FirstProject = "admin"
	FirstUser    = "admin"
)

// Seed makes the first roles, project and administrator. now becomes the time at which the password was set.
func Seed(password string, now cluster.Time) (Founders, error) {
	hash, err := HashPassword(password)
	if err != nil {
		return Founders{}, err
	}
	f := Founders{
		Project: cluster.Project{ID: cluster.ProjectID(rest.NewHexID()), Name: FirstProject, Description: "The first project of the cluster."},
	}
	for _, name := range []string{cluster.RoleAdmin, cluster.RoleMember, cluster.RoleReader} {
		f.Roles = append(f.Roles, cluster.Role{ID: cluster.RoleID(rest.NewHexID()), Name: name, BuiltIn: true})
	}
	f.Admin = cluster.User{
		ID: cluster.UserID(rest.NewHexID()), Name: FirstUser, PasswordHash: hash, PasswordSet: now,
	}
	return f, nil
}
