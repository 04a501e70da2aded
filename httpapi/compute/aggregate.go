package compute

import (
	"encoding/json"
	"errors"
	"net/http"
	"regexp"
	"slices"
	"strconv"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/rest"
	"github.com/kilonova/kilonova/httpapi/schema"
)

// aggregateUUIDs is the microversion from which on aggregates show their UUID.
const aggregateUUIDs = version(41)

var (
	hostnamesOfNodes = regexp.MustCompile(`^[a-zA-Z0-9-._]*$`)

	schemaNewAggregate = schema.Wrap("aggregate", schema.Record(map[string]*schema.Schema{
		"name": schemaName, "availability_zone": schemaZone}, "name"))
	schemaOldAggregate = schema.Wrap("aggregate", schema.Record(map[string]*schema.Schema{
		"name": schemaName, "availability_zone": schemaZone}))
	schemaAggregateHost = schema.Record(map[string]*schema.Schema{
		"host": {Types: []string{"string"}, MinLength: 1, MaxLength: 255, Pattern: hostnamesOfNodes}}, "host")
	schemaAggregateMetadata = schema.Record(map[string]*schema.Schema{
		"metadata": schema.Map(`^[a-zA-Z0-9-_:. ]{1,255}$`, schema.Text(0, 255).OrNull())}, "metadata")
	schemaCache = schema.Record(map[string]*schema.Schema{
		"cache": {Types: []string{"array"}, Array: &schema.List{Items: schema.Record(map[string]*schema.Schema{"id": schemaUUID}, "id"), Min: 1, Max: 255}},
	}, "cache")
)

type aggregateBody struct {
	Aggregate struct {
		Name *string         `json:"name"`
		Zone json.RawMessage `json:"availability_zone"` // a string or null; empty: not said
	} `json:"aggregate"`
}

// zone reads the availability zone that was asked for; said is false when none was.
func (b *aggregateBody) zone() (zone string, said bool) {
	if len(b.Aggregate.Zone) == 0 {
		return "", false
	}
	_ = json.Unmarshal(b.Aggregate.Zone, &zone) // the schema let strings and null pass
	return zone, true
}

// The acts on an aggregate, in the words in which Nova refuses each.
const (
	toAdd         = "Cannot add host to aggregate %d. Reason: %s."
	toUpdate      = "Cannot update aggregate %d. Reason: %s."
	toSetMetadata = "Cannot update metadata of aggregate %d. Reason: %s."
)

// aggregateNumber reads the ID in the path.
func (c *call) aggregateNumber() (int64, error) {
	n, err := strconv.ParseInt(c.param("aggregate"), 10, 32)
	if err != nil {
		return 0, bad("Invalid input received: id must be an integer")
	}
	return n, nil
}

func noAggregate(number int64) error { return notFound("Aggregate %d could not be found.", number) }

func (c *call) listAggregates() error {
	var j writer
	j.open('{').key("aggregates").open('[')
	for a := range c.view.Aggregates() {
		c.writeAggregate(&j, a, true)
	}
	j.close(']').close('}')
	return c.send(http.StatusOK, &j)
}

func (c *call) showAggregate() error {
	number, err := c.aggregateNumber()
	if err != nil {
		return err
	}
	return c.sendAggregate(number, true)
}

// sendAggregate replies with an aggregate; a new one is shown without hosts and metadata.
func (c *call) sendAggregate(number int64, whole bool) error {
	a, ok := c.view.Aggregate(number)
	if !ok {
		return noAggregate(number)
	}
	var j writer
	j.open('{').key("aggregate")
	c.writeAggregate(&j, a, whole)
	j.close('}')
	return c.send(http.StatusOK, &j)
}

func (c *call) writeAggregate(j *writer, a *cluster.Aggregate, whole bool) {
	j.open('{').fieldNum("id", a.Number)
	if c.v >= aggregateUUIDs {
		j.field("uuid", a.ID)
	}
	j.field("name", a.Name)
	if whole {
		j.key("hosts").open('[')
		for _, id := range a.Hosts {
			if n, ok := c.view.Node(id); ok {
				j.str(n.Name)
			}
		}
		j.close(']').key("metadata").texts(a.Metadata)
	}
	j.key("created_at").micros(a.Created).key("updated_at").micros(a.Updated).key("deleted_at").null().fieldTruth("deleted", false)
	j.fieldOrNull("availability_zone", a.Zone()).close('}')
}

func (c *call) createAggregate() error {
	body, err := decode[aggregateBody](c, schemaNewAggregate)
	if err != nil {
		return err
	}
	a := cluster.Aggregate{ID: rest.NewUUID(), Name: *body.Aggregate.Name}
	if zone, _ := body.zone(); zone != "" {
		a.Metadata = map[string]string{cluster.ZoneKey: zone}
	}
	res, err := c.change(&cluster.PutAggregate{Aggregate: a})
	if err != nil {
		return err
	}
	number, err := strconv.ParseInt(res.IDs[0], 10, 64)
	if err != nil {
		return err
	}
	return c.sendAggregate(number, false)
}

// changeAggregate changes the aggregate of the path and shows it. What would break the zones is refused in the words of the
// act, with the given code.
func (c *call) changeAggregate(words string, code cluster.Code, change func(*cluster.View, *cluster.Aggregate) error) error {
	number, err := c.aggregateNumber()
	if err != nil {
		return err
	}
	err = c.update(func(v *cluster.View) (cluster.Op, error) {
		old, ok := v.Aggregate(number)
		if !ok {
			return nil, noAggregate(number)
		}
		a := old.Clone()
		if a.Metadata == nil {
			a.Metadata = map[string]string{}
		}
		if err := change(v, a); err != nil {
			return nil, err
		}
		if why := v.ZoneConflict(a); why != "" {
			return nil, cluster.Errorf(code, words, number, why)
		}
		return &cluster.PutAggregate{Aggregate: *a}, nil
	})
	if err != nil {
		return err
	}
	return c.sendAggregate(number, true)
}

func (c *call) updateAggregate() error {
	body, err := decode[aggregateBody](c, schemaOldAggregate)
	if err != nil {
		return err
	}
	zone, said := body.zone()
	if body.Aggregate.Name == nil && !said {
		return bad("Invalid input for field/attribute aggregate. Value: {}. {} is not valid under any of the given schemas")
	}
	return c.changeAggregate(toUpdate, cluster.Invalid, func(_ *cluster.View, a *cluster.Aggregate) error {
		if body.Aggregate.Name != nil {
			a.Name = *body.Aggregate.Name
		}
		if said {
			a.Metadata[cluster.ZoneKey] = zone
		}
		return nil
	})
}

func (c *call) deleteAggregate() error {
	number, err := c.aggregateNumber()
	if err != nil {
		return err
	}
	_, err = c.change(&cluster.DeleteAggregate{Number: number})
	var refusal *cluster.Error
	if errors.As(err, &refusal) && refusal.Code == cluster.Conflict {
		return bad("%s", refusal.Message)
	}
	if err != nil {
		return err
	}
	return c.done(http.StatusOK)
}

// actOnAggregate does what the only member of the body names.
func (c *call) actOnAggregate() error {
	body, err := rest.Decode[map[string]json.RawMessage](c.r)
	if err != nil {
		return err
	}
	if len(body) != 1 {
		return bad("There is no such action: ")
	}
	for name, raw := range body {
		switch name {
		case "add_host", "remove_host":
			return c.moveHost(name, raw)
		case "set_metadata":
			return c.setAggregateMetadata(raw)
		default:
			return bad("There is no such action: %s", name)
		}
	}
	return nil
}

// moveHost adds a host to an aggregate, or takes it out.
func (c *call) moveHost(act string, raw json.RawMessage) error {
	if err := c.allow("os-aggregates:"+act, admin); err != nil {
		return err
	}
	body, err := schema.Into[struct {
		Host string `json:"host"`
	}](raw, schemaAggregateHost)
	if err != nil {
		return err
	}
	return c.changeAggregate(toAdd, cluster.Conflict, func(v *cluster.View, a *cluster.Aggregate) error {
		n, ok := v.NodeNamed(body.Host)
		if act == "add_host" {
			switch {
			case !ok:
				return notFound("Compute host %s could not be found.", body.Host)
			case slices.Contains(a.Hosts, n.ID) && c.first():
				return conflict("Aggregate %d already has host %s.", a.Number, body.Host)
			case !slices.Contains(a.Hosts, n.ID):
				a.Hosts = append(a.Hosts, n.ID)
			}
			return nil
		}
		if (!ok || !slices.Contains(a.Hosts, n.ID)) && (!ok || c.first()) {
			return notFound("Cannot remove host %s in aggregate %d", body.Host, a.Number)
		}
		a.Hosts = slices.DeleteFunc(a.Hosts, func(id cluster.NodeID) bool { return id == n.ID })
		if v.ZoneConflict(a) != "" {
			return conflict("Cannot remove host %s in aggregate %d", body.Host, a.Number)
		}
		return nil
	})
}

// setAggregateMetadata merges metadata into an aggregate's; null takes a key away.
func (c *call) setAggregateMetadata(raw json.RawMessage) error {
	if err := c.allow("os-aggregates:set_metadata", admin); err != nil {
		return err
	}
	body, err := schema.Into[struct {
		Metadata map[string]*string `json:"metadata"`
	}](raw, schemaAggregateMetadata)
	if err != nil {
		return err
	}
	return c.changeAggregate(toSetMetadata, cluster.Invalid, func(_ *cluster.View, a *cluster.Aggregate) error {
		for k, v := range body.Metadata {
			switch {
			case v != nil:
				a.Metadata[k] = *v
			case k == cluster.ZoneKey:
				a.Metadata[k] = "" // refused, as Nova does
			default:
				delete(a.Metadata, k)
			}
		}
		return nil
	})
}

// cacheImages would have the nodes of an aggregate fetch images. Nodes fetch what their instances need when they need it, so
// the request is judged and then refused, not accepted and forgotten.
func (c *call) cacheImages() error {
	number, err := c.aggregateNumber()
	if err != nil {
		return err
	}
	body, err := decode[struct {
		Cache []struct {
			ID cluster.ImageID `json:"id"`
		} `json:"cache"`
	}](c, schemaCache)
	if err != nil {
		return err
	}
	if _, ok := c.view.Aggregate(number); !ok {
		return noAggregate(number)
	}
	seen := map[cluster.ImageID]bool{}
	for _, i := range body.Cache {
		if seen[i.ID] {
			return bad("Duplicate images in request")
		}
		seen[i.ID] = true
		if _, ok := c.view.Image(i.ID); !ok {
			return bad("Image %s could not be found.", i.ID)
		}
	}
	return unsupported("caching images before they are needed")
}
