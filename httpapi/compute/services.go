package compute

import (
	"net/http"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/rest"
	"github.com/kilonova/kilonova/httpapi/schema"
)

// computeBinary is the one service of a node that Nova's clients know.
const computeBinary = "nova-compute"

func (c *call) listServices() error {
	if err := c.checkQuery("host", "binary"); err != nil {
		return err
	}
	q := c.r.URL.Query()
	var j writer
	j.open('{').key("services").open('[')
	for _, n := range c.nodes() {
		if h := q.Get("host"); h != "" && h != n.Name {
			continue
		}
		if b := q.Get("binary"); b != "" && b != computeBinary {
			continue
		}
		c.writeService(&j, n)
	}
	j.close(']').close('}')
	return c.send(http.StatusOK, &j)
}

func (c *call) writeService(j *writer, n *cluster.Node) {
	state, status := c.states(n)
	j.open('{').field("binary", computeBinary).field("host", n.Name)
	c.writeID(j, n)
	j.field("zone", c.view.ZoneOf(n)).field("status", status).field("state", state).key("updated_at").micros(c.lastSeen(n))
	j.fieldOrNull("disabled_reason", disabledReason(n))
	if c.v >= 11 {
		j.fieldTruth("forced_down", n.Service.ForcedDown)
	}
	j.close('}')
}

// lastSeen is when a node last showed that it is alive: now, while it is.
func (c *call) lastSeen(n *cluster.Node) cluster.Time {
	up, since := c.up(n)
	switch {
	case up:
		return cluster.At(c.Now())
	case !since.IsZero():
		return cluster.At(since)
	}
	return n.Updated
}

type serviceBody struct {
	Host   string    `json:"host"`
	Binary string    `json:"binary"`
	Status string    `json:"status"`
	Reason string    `json:"disabled_reason"`
	Down   *flexBool `json:"forced_down"`
}

var (
	schemaReason = schema.Text(1, 255).Formatted(&schema.Format{Name: "disabled_reason", OK: isName,
		Refusal: "Disabled reason contains invalid characters or is too long"})
	// The actions that a PUT before uuidIDs names in its path.
	serviceActions = map[string]*schema.Schema{
		"enable":             serviceSchema(nil),
		"disable":            serviceSchema(nil),
		"disable-log-reason": serviceSchema(map[string]*schema.Schema{"disabled_reason": schemaReason}, "disabled_reason"),
		"force-down":         serviceSchema(map[string]*schema.Schema{"forced_down": schema.Boolean()}),
	}
	updateServiceSchema = schema.Record(map[string]*schema.Schema{"status": {Types: []string{"string"}, Enum: []any{"enabled", "disabled"}},
		"disabled_reason": schemaReason, "forced_down": schema.Boolean()})
)

func serviceSchema(more map[string]*schema.Schema, required ...string) *schema.Schema {
	known := map[string]*schema.Schema{"host": schema.Text(1, 255), "binary": schema.Text(1, 255)}
	for name, s := range more {
		known[name] = s
	}
	return schema.Record(known, append([]string{"host", "binary"}, required...)...)
}

// updateService is PUT /os-services/{id}, where the ID is an action before uuidIDs.
func (c *call) updateService() error {
	if c.v < uuidIDs {
		return c.actOnService(c.param("service"))
	}
	id, ok := rest.CanonicalUUID(c.param("service"))
	if !ok {
		return bad("Invalid uuid %s", c.param("service"))
	}
	body, err := decode[serviceBody](c, updateServiceSchema)
	if err != nil {
		return err
	}
	n, ok := c.view.Node(cluster.NodeID(id))
	switch {
	case !ok:
		return notFound("Service %s not found.", id)
	case body.Status == "" && body.Down == nil:
		return bad("No updates were requested. Fields 'status' or 'forced_down' should be specified.")
	case body.Reason != "" && body.Status != "disabled":
		return bad("Specifying 'disabled_reason' requires 'status' to be 'disabled'.")
	}
	n, err = c.setService(n, func(s *cluster.ServiceState) {
		if body.Status != "" {
			setStatus(s, body.Status == "disabled", body.Reason)
		}
		if body.Down != nil {
			s.ForcedDown = bool(*body.Down)
		}
	})
	if err != nil {
		return err
	}
	var j writer
	j.open('{').key("service")
	c.writeService(&j, n)
	j.close('}')
	return c.send(http.StatusOK, &j)
}

// setStatus disables a service, or enables it, which also ends draining.
func setStatus(s *cluster.ServiceState, disabled bool, reason string) {
	s.Disabled, s.Reason = disabled, reason
	if !disabled {
		s.Draining = false
	}
}

// setService changes what is said of a node's service. Another operator's word that came between is not lost.
func (c *call) setService(n *cluster.Node, change func(*cluster.ServiceState)) (*cluster.Node, error) {
	err := c.update(func(v *cluster.View) (cluster.Op, error) {
		now, ok := v.Node(n.ID)
		if !ok {
			return nil, notFound("Service %s not found.", n.ID)
		}
		s := now.Service
		change(&s)
		return &cluster.SetNodeService{ID: n.ID, Service: s, Revision: now.Revision}, nil
	})
	if err != nil {
		return nil, err
	}
	after, ok := c.view.Node(n.ID)
	if !ok {
		return nil, notFound("Service %s not found.", n.ID)
	}
	return after, nil
}

func (c *call) actOnService(action string) error {
	known, ok := serviceActions[action]
	if !ok || action == "force-down" && c.v < 11 {
		return notFound("Unknown action")
	}
	body, err := decode[serviceBody](c, known)
	if err != nil {
		return err
	}
	n, ok := c.view.NodeNamed(body.Host)
	if !ok || body.Binary != computeBinary {
		return notFound("Could not find binary %s on host %s.", body.Binary, body.Host)
	}
	n, err = c.setService(n, func(s *cluster.ServiceState) {
		if action == "force-down" {
			s.ForcedDown = body.Down == nil || bool(*body.Down)
		} else {
			setStatus(s, action != "enable", body.Reason)
		}
	})
	if err != nil {
		return err
	}
	var j writer
	j.open('{').key("service").open('{').field("host", n.Name).field("binary", computeBinary)
	switch action {
	case "force-down":
		j.fieldTruth("forced_down", n.Service.ForcedDown)
	case "enable":
		j.field("status", "enabled")
	default:
		j.field("status", "disabled")
	}
	if action == "disable-log-reason" {
		j.field("disabled_reason", body.Reason)
	}
	j.close('}').close('}')
	return c.send(http.StatusOK, &j)
}

// deleteService is how Nova forgets a node. Here a node must also leave the agreement, so it takes another way.
func (c *call) deleteService() error {
	return unsupported("removing a node here. Use 'kilonova node remove'")
}
