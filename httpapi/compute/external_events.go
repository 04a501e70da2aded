package compute

import (
	"net/http"
	"regexp"
	"slices"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/rest"
	"github.com/kilonova/kilonova/httpapi/schema"
)

// eventNames are the events that other services tell of, and the microversions since which they may.
var eventNames = []struct {
	name  string
	since version
}{
	{"network-changed", 0}, {"network-vif-plugged", 0}, {"network-vif-unplugged", 0}, {"network-vif-deleted", 0},
	{"volume-extended", 51}, {"power-update", 76}, {"accelerator-request-bound", 82}, {"volume-reimaged", 93},
}

// maxEventTag is how long the tag of an event may be.
const maxEventTag = 255

// uuidText is what JSON schema's format "uuid" takes.
var uuidText = regexp.MustCompile(`^[0-9a-fA-F]{8}-?([0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}$`)

// eventSchema is what a microversion takes.
func eventSchema(v version) *schema.Schema {
	var names []any
	for _, e := range eventNames {
		if v >= e.since {
			names = append(names, e.name)
		}
	}
	return schema.Record(map[string]*schema.Schema{"events": {Types: []string{"array"}, Array: &schema.List{Min: 1,
		Items: schema.Record(map[string]*schema.Schema{
			"server_uuid": {Types: []string{"string"}, Pattern: uuidText},
			"name":        {Types: []string{"string"}, Enum: names},
			"status":      {Types: []string{"string"}, Enum: []any{"failed", "completed", "in-progress"}},
			"tag":         schema.Text(0, maxEventTag),
		}, "server_uuid", "name")}}}, "events")
}

// externalEvent is what another service says of a server.
type externalEvent struct {
	Server string  `json:"server_uuid"`
	Name   string  `json:"name"`
	Status string  `json:"status"`
	Tag    *string `json:"tag"`
}

// tagged are the events that say nothing without a tag.
var tagged = []string{"volume-extended", "power-update", "accelerator-request-bound", "volume-reimaged"}

// takeEvents answers services that tell of events. Nothing here waits for any of them: nodes look for themselves at what an event
// would tell. So an event is as good as handled when its server is on a node.
func (c *call) takeEvents() error {
	body, err := decode[struct {
		Events []externalEvent `json:"events"`
	}](c, eventSchema(c.v))
	if err != nil {
		return err
	}
	status := http.StatusOK
	var j writer
	j.open('{').key("events").open('[')
	for _, e := range body.Events {
		code := c.judgeEvent(&e)
		if code != http.StatusOK {
			e.Status, status = "failed", http.StatusMultiStatus
		} else if e.Status == "" {
			e.Status = "completed"
		}
		j.open('{').field("server_uuid", e.Server).field("name", e.Name)
		if e.Tag != nil {
			j.field("tag", *e.Tag)
		}
		j.field("status", e.Status).fieldNum("code", int64(code)).close('}')
	}
	j.close(']').close('}')
	return c.send(status, &j)
}

func (c *call) judgeEvent(e *externalEvent) int {
	id, _ := rest.CanonicalUUID(e.Server)
	in, ok := c.view.Instance(cluster.InstanceID(id))
	switch {
	case !ok:
		return http.StatusNotFound
	case e.Tag == nil && slices.Contains(tagged, e.Name):
		return http.StatusBadRequest
	case in.Node == "":
		return http.StatusUnprocessableEntity
	}
	return http.StatusOK
}
