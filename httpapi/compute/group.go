package compute

import (
	"net/http"
	"slices"
	"strconv"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/rest"
	"github.com/kilonova/kilonova/httpapi/schema"
)

// The microversions that changed server groups: soft policies, owners, and one policy with rules instead of a list.
const (
	groupSoft   = version(15)
	groupOwners = version(13)
	groupRules  = version(64)
)

type groupBody struct {
	Group struct {
		Name     string   `json:"name"`
		Policies []string `json:"policies"`
		Policy   string   `json:"policy"`
		Rules    struct {
			Most flexInt `json:"max_server_per_host"`
		} `json:"rules"`
	} `json:"server_group"`
}

func groupSchema(v version) *schema.Schema {
	policies := []any{string(cluster.AntiAffinity), string(cluster.Affinity)}
	if v >= groupSoft {
		policies = append(policies, string(cluster.SoftAntiAffinity), string(cluster.SoftAffinity))
	}
	policy := &schema.Schema{Types: []string{"string"}, Enum: policies}
	if v < groupRules {
		return schema.Wrap("server_group", schema.Record(map[string]*schema.Schema{
			"name":     schemaName,
			"policies": {Types: []string{"array"}, Array: &schema.List{Items: policy, Min: 1, Max: 1, Unique: true}},
		}, "name", "policies"))
	}
	return schema.Wrap("server_group", schema.Record(map[string]*schema.Schema{
		"name":   schemaName,
		"policy": policy,
		"rules":  schema.Record(map[string]*schema.Schema{"max_server_per_host": schemaCount}),
	}, "name", "policy"))
}

func (c *call) createServerGroup() error {
	if c.caller.Project == nil {
		return cluster.Errorf(cluster.Forbidden, "Policy doesn't allow os_compute_api:os-server-groups:create to be performed.")
	}
	body, err := decode[groupBody](c, groupSchema(c.v))
	if err != nil {
		return err
	}
	g := cluster.ServerGroup{
		ID: cluster.GroupID(rest.NewUUID()), Project: c.caller.ProjectID(), User: c.caller.User.ID, Name: body.Group.Name,
		Policy: cluster.GroupPolicy(body.Group.Policy), MaxPerHost: int64(body.Group.Rules.Most),
	}
	if c.v < groupRules {
		g.Policy = cluster.GroupPolicy(body.Group.Policies[0])
	}
	res, err := c.change(&cluster.CreateServerGroup{Group: g})
	if err != nil {
		return err
	}
	made, ok := c.view.ServerGroup(cluster.GroupID(res.IDs[0]))
	if !ok {
		return noGroup(res.IDs[0]) // gone already, and this is a repetition
	}
	return c.sendGroup(made)
}

func noGroup(id string) error { return notFound("Instance group %s could not be found.", id) }

// serverGroup is the server group of the path. Those of other projects are seen by administrators only.
func (c *call) serverGroup() (*cluster.ServerGroup, error) {
	id := c.param("group")
	g, ok := c.view.ServerGroup(cluster.GroupID(id))
	if !ok || g.Project != c.caller.ProjectID() && !c.caller.Admin() {
		return nil, noGroup(id)
	}
	return g, nil
}

func (c *call) showServerGroup() error {
	g, err := c.serverGroup()
	if err != nil {
		return err
	}
	return c.sendGroup(g)
}

func (c *call) sendGroup(g *cluster.ServerGroup) error {
	var j writer
	j.open('{').key("server_group")
	c.writeGroup(&j, g)
	j.close('}')
	return c.send(http.StatusOK, &j)
}

func (c *call) writeGroup(j *writer, g *cluster.ServerGroup) {
	j.open('{').field("id", string(g.ID)).field("name", g.Name)
	if c.v >= groupRules {
		j.field("policy", string(g.Policy)).key("rules").open('{')
		if g.MaxPerHost != 0 {
			j.fieldNum("max_server_per_host", g.MaxPerHost)
		}
		j.close('}')
	} else {
		j.key("policies").strings([]string{string(g.Policy)}).key("metadata").open('{').close('}')
	}
	j.key("members").open('[')
	for _, id := range c.membersOf(g) {
		j.str(string(id))
	}
	j.close(']')
	if c.v >= groupOwners {
		j.field("project_id", string(g.Project)).field("user_id", string(g.User))
	}
	j.close('}')
}

// membersOf are the servers of a group in the order in which they were made.
func (c *call) membersOf(g *cluster.ServerGroup) []cluster.InstanceID {
	all := slices.SortedFunc(c.view.GroupMembers(g.ID), func(a, b *cluster.Instance) int { return int(a.Number - b.Number) })
	ids := make([]cluster.InstanceID, len(all))
	for i, in := range all {
		ids[i] = in.ID
	}
	return ids
}

// listServerGroups lists those of the project; with all_projects an administrator sees all.
func (c *call) listServerGroups() error {
	if err := c.checkQuery("all_projects", "limit", "offset"); err != nil {
		return err
	}
	q, project := c.r.URL.Query(), c.caller.ProjectID()
	if q.Has("all_projects") && c.caller.Admin() {
		project = ""
	} else if project == "" {
		return cluster.Errorf(cluster.Forbidden, "Policy doesn't allow os_compute_api:os-server-groups:index to be performed.")
	}
	limit, err := c.count("limit", rest.MaxPage)
	if err != nil {
		return err
	}
	offset, err := c.count("offset", 0)
	if err != nil {
		return err
	}
	var j writer
	j.open('{').key("server_groups").open('[')
	at := 0
	for g := range c.view.ServerGroups(project) {
		if at >= offset && at-offset < limit {
			c.writeGroup(&j, g)
		}
		at++
	}
	j.close(']').close('}')
	return c.send(http.StatusOK, &j)
}

// count reads a query parameter that counts something, at most a page of it.
func (c *call) count(name string, otherwise int) (int, error) {
	s := c.r.URL.Query().Get(name)
	if s == "" {
		return otherwise, nil
	}
	n, err := strconv.ParseUint(s, 10, 31)
	if err != nil {
		return 0, bad("Invalid input for query parameters %s. Value: %s. '%s' does not match '^[0-9]*$'", name, s, s)
	}
	if name == "limit" {
		return min(int(n), rest.MaxPage), nil
	}
	return int(n), nil
}

func (c *call) deleteServerGroup() error {
	g, err := c.serverGroup()
	if err != nil && c.first() {
		return err
	}
	id := cluster.GroupID(c.param("group"))
	if g != nil {
		id = g.ID
	}
	if _, err := c.change(&cluster.DeleteServerGroup{ID: id}); err != nil {
		return err
	}
	return c.done(http.StatusNoContent)
}
