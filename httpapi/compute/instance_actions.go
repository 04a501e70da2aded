package compute

import (
	"net/http"
	"slices"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/rest"
)

// history gives the actions of a server, newest first.
func (c *call) history(in *cluster.Instance) []*cluster.Action {
	all := slices.Collect(c.view.Actions(in.ID))
	slices.Reverse(all)
	return all
}

func (c *call) listActions() error {
	in, err := c.serverOrDeleted()
	if err != nil {
		return err
	}
	all, next := c.history(in), ""
	if c.v >= 58 {
		if err := c.checkQuery("limit", "marker", "changes-since", "changes-before"); err != nil {
			return err
		}
		if all, next, err = c.pageOfActions(all); err != nil {
			return err
		}
	}
	var j writer
	j.open('{').key("instanceActions").open('[')
	for _, a := range all {
		j.open('{')
		c.writeAction(&j, a)
		j.close('}')
	}
	j.close(']')
	if next != "" {
		c.writeNext(&j, "links", next)
	}
	j.close('}')
	return c.send(http.StatusOK, &j)
}

// pageOfActions reads the query of a listing of actions. Their markers are request IDs.
func (c *call) pageOfActions(all []*cluster.Action) (page []*cluster.Action, next string, err error) {
	wanted, err := rest.ParsePage(c.r, true)
	if err != nil {
		return nil, "", err
	}
	var q serverQuery
	if err := c.readTimes(&q, c.r.URL.Query()); err != nil {
		return nil, "", err
	}
	all = slices.DeleteFunc(all, func(a *cluster.Action) bool {
		return q.changed && a.Updated < q.since || q.until && a.Updated > q.before
	})
	page, _, err = rest.Cut(all, wanted, func(a *cluster.Action) string { return a.Request })
	if len(page) > 0 && len(page) == wanted.Limit {
		next = page[len(page)-1].Request
	}
	return page, next, err
}

func (c *call) showAction() error {
	in, err := c.serverOrDeleted()
	if err != nil {
		return err
	}
	id := c.param("request")
	all := c.history(in)
	i := slices.IndexFunc(all, func(a *cluster.Action) bool { return a.Request == id })
	if i < 0 {
		return notFound("Action for request_id %s on instance %s not found", id, in.ID)
	}
	var j writer
	j.open('{').key("instanceAction").open('{')
	c.writeAction(&j, all[i])
	if c.caller.Admin() || c.v >= 51 {
		c.writeEvents(&j, in, all[i].Events)
	}
	j.close('}').close('}')
	return c.send(http.StatusOK, &j)
}

func (c *call) writeAction(j *writer, a *cluster.Action) {
	j.field("action", a.Kind).field("instance_uuid", string(a.Instance)).field("request_id", a.Request)
	j.field("user_id", string(a.User)).field("project_id", string(a.Project)).key("start_time").micros(a.Started)
	j.fieldOrNull("message", a.Message)
	if c.v >= 58 {
		j.key("updated_at").micros(a.Updated)
	}
}

// writeEvents writes the steps of an action. Nova's traceback has no counterpart here; what went wrong is in the details.
func (c *call) writeEvents(j *writer, in *cluster.Instance, events []cluster.Event) {
	p := c.newRenderer()
	j.key("events").open('[')
	for _, e := range events {
		j.open('{').field("event", e.Name).key("start_time").micros(e.Started).key("finish_time").micros(e.Finished)
		j.fieldOrNull("result", e.Result)
		if c.caller.Admin() {
			j.key("traceback").null()
			if c.v >= 62 {
				j.fieldOrNull("host", p.node(e.Node).name)
			}
		}
		if c.v >= 62 {
			j.field("hostId", p.hostID(in.Project, e.Node))
		}
		if c.v >= 84 {
			j.fieldOrNull("details", e.Details)
		}
		j.close('}')
	}
	j.close(']')
}
