package compute

import (
	"encoding/json"
	"regexp"
	"strings"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/schema"
)

// schemaHints is what os:scheduler_hints takes. Hints that no filter knows are kept and have no effect, as in Nova.
var schemaHints = schema.Loose(map[string]*schema.Schema{
	"group":              schemaUUID,
	"different_host":     schemaOneOrMoreUUIDs,
	"same_host":          schemaOneOrMoreUUIDs,
	"build_near_host_ip": schema.Text(0, 0).Formatted(formatIP),
	"cidr":               {Types: []string{"string"}, Pattern: regexp.MustCompile(`^\/[0-9a-f.:]+$`)},
})

var schemaOneOrMoreUUIDs = &schema.Schema{AnyOf: []*schema.Schema{schemaUUID, schema.ArrayOf(schemaUUID, maxTogether)}}

// readHints keeps scheduler hints as texts; lists are joined with commas. The group is one that the project has.
func (o *order) readHints() error {
	hints := o.body.Hints
	if len(hints) == 0 {
		hints = o.body.OldHints
	}
	for name, raw := range sorted(hints) {
		if o.spec.Scheduling.Hints == nil {
			o.spec.Scheduling.Hints = map[string]string{}
		}
		o.spec.Scheduling.Hints[name] = hintText(raw)
	}
	id, ok := o.spec.Scheduling.Hints["group"]
	if !ok {
		return nil
	}
	g, ok := o.view.ServerGroup(cluster.GroupID(id))
	if (!ok || g.Project != o.caller.ProjectID()) && o.first() {
		return bad("Instance group %s could not be found.", id)
	}
	o.spec.Scheduling.Group = cluster.GroupID(id)
	return nil
}

func hintText(raw json.RawMessage) string {
	var one string
	var many []string
	switch {
	case json.Unmarshal(raw, &one) == nil:
		return one
	case json.Unmarshal(raw, &many) == nil:
		return strings.Join(many, ",")
	}
	return string(raw)
}
