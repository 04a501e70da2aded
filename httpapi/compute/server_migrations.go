package compute

import (
	"net/http"
	"strconv"

	"github.com/kilonova/kilonova/cluster"
)

// listServerMigrations is GET /servers/{id}/migrations: the live migration that is under way.
func (c *call) listServerMigrations() error {
	in, err := c.server()
	if err != nil {
		return err
	}
	var j writer
	j.open('{').key("migrations").open('[')
	for m := range c.view.Migrations() {
		if m.Instance == in.ID && underWay(m) {
			c.writeServerMigration(&j, m)
		}
	}
	j.close(']').close('}')
	return c.send(http.StatusOK, &j)
}

// serverMigration finds the migration of a server that the path names.
func (c *call) serverMigration(in *cluster.Instance) *cluster.Migration {
	id := c.param("migration")
	for m := range c.view.Migrations() {
		if m.Instance == in.ID && strconv.FormatInt(m.Number, 10) == id {
			return m
		}
	}
	return nil
}

func (c *call) showServerMigration() error {
	in, err := c.server()
	if err != nil {
		return err
	}
	id, m := c.param("migration"), c.serverMigration(in)
	switch {
	case m == nil:
		return notFound("In-progress live migration %s is not found for server %s.", id, in.ID)
	case m.Kind != cluster.OpLive:
		return notFound("Migration %s for server %s is not live-migration.", id, in.ID)
	case !underWay(m):
		return notFound("Live migration %s for server %s is not in progress.", id, in.ID)
	}
	var j writer
	j.open('{').key("migration")
	c.writeServerMigration(&j, m)
	j.close('}')
	return c.send(http.StatusOK, &j)
}

func (c *call) writeServerMigration(j *writer, m *cluster.Migration) {
	from, to := c.nameOf(m.From), c.nameOf(m.To)
	p := m.Progress
	j.open('{').key("created_at").micros(m.Created).fieldOrNull("dest_compute", to).key("dest_host").null().fieldOrNull("dest_node", to)
	j.fieldNum("disk_processed_bytes", p.DiskProcessed).fieldNum("disk_remaining_bytes", p.DiskRemaining)
	j.fieldNum("disk_total_bytes", p.DiskTotal).fieldNum("id", m.Number)
	j.fieldNum("memory_processed_bytes", p.MemoryProcessed).fieldNum("memory_remaining_bytes", p.MemoryRemaining)
	j.fieldNum("memory_total_bytes", p.MemoryTotal).field("server_uuid", string(m.Instance))
	j.field("source_compute", from).field("source_node", from).field("status", m.Status).key("updated_at").micros(m.Updated)
	if c.v >= migrationUUIDs {
		j.field("uuid", string(m.ID))
	}
	if c.v >= migrationOwners {
		j.field("user_id", string(m.User)).field("project_id", string(m.Project))
	}
	j.close('}')
}

// abortQueued is the microversion from which a migration can be aborted before it runs.
const abortQueued version = 65

// abortMigration is DELETE /servers/{id}/migrations/{id}.
func (c *call) abortMigration() error {
	in, err := c.migratingServer("abort live migration", nil)
	if err != nil {
		return err
	}
	m := c.serverMigration(in)
	if m == nil {
		return notFound("Migration %s not found for instance %s", c.param("migration"), in.ID)
	}
	if m.Status != "running" && (c.v < abortQueued || !underWay(m)) {
		return wrongMigrationState(m, "abort live migration")
	}
	return c.accept(&cluster.SignalMove{ID: in.ID, By: c.by(), Operation: m.ID, Signal: cluster.SignalAbort})
}

// actOnMigration is POST /servers/{id}/migrations/{id}/action, where force_complete is the only action.
func (c *call) actOnMigration() error {
	name, value, err := c.action()
	switch {
	case err != nil:
		return err
	case name != "force_complete":
		return noAction(name)
	case string(value) != "null":
		return bad("Invalid input for field/attribute force_complete. Value: %.64s. %.64s is not of type 'null'", value, value)
	}
	in, err := c.migratingServer("force_complete", []cluster.VMState{cluster.VMActive})
	if err != nil {
		return err
	}
	m := c.serverMigration(in)
	switch {
	case m == nil:
		return bad("Migration %s not found for instance %s", c.param("migration"), in.ID)
	case m.Status != "running":
		return wrongMigrationState(m, "force complete")
	}
	return c.accept(&cluster.SignalMove{ID: in.ID, By: c.by(), Operation: m.ID, Signal: cluster.SignalForce})
}

func wrongMigrationState(m *cluster.Migration, method string) error {
	return bad("Migration %d state of instance %s is %s. Cannot %s while the migration is in this state.", m.Number, m.Instance, m.Status, method)
}

// migratingServer finds the server that the path names, and refuses one that is not being migrated. states are those that it
// may be in; nil: any.
func (c *call) migratingServer(method string, states []cluster.VMState) (*cluster.Instance, error) {
	in, err := c.server()
	if err != nil {
		return nil, err
	}
	if states != nil {
		if err := c.allowedIn(in, method, states, cluster.TaskMigrating); err != nil {
			return nil, err
		}
	}
	if err := c.unlocked(in); err != nil {
		return nil, err
	}
	if in.Status.Task != cluster.TaskMigrating && c.first() {
		task := string(in.Status.Task)
		if task == "" {
			task = "None"
		}
		return nil, conflict("Cannot '%s' instance %s while it is in task_state %s", method, in.ID, task)
	}
	return in, nil
}
