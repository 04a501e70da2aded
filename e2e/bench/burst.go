package main

import (
	"context"
	"time"
)

const (
	burstSize = 1000 // servers of one request

	// A command has an entry of its own when it is larger than 512 KiB, so one request should never need more than one.
	maxBurstCommands = 1

	burstPoll = 10 * time.Millisecond
)

// measureBurst asks for 1,000 servers in one request, several times, through the leader. Each time those of the time before are gone.
func measureBurst(ctx context.Context, b *bench) error {
	b.close()
	t, err := b.town(ctx)
	if err != nil {
		return err
	}
	s, err := t.stage(ctx)
	if err != nil {
		return err
	}
	leader, err := t.leader(ctx)
	if err != nil {
		return err
	}
	at := t.admin.at(leader.url())
	defer at.close()
	w, err := startWatch(b.dir, t.pids())
	if err != nil {
		return err
	}
	var all []burst
	for range b.runs {
		one, err := t.burst(ctx, at, s)
		if err != nil {
			return err
		}
		all = append(all, one)
	}
	during := w.stop()
	values := func(of func(burst) float64) (out []float64) {
		for _, one := range all {
			out = append(out, of(one))
		}
		return out
	}
	b.add(
		figure{Name: "1,000 servers in one request, commands (each one placement pass, one log entry)", Limit: maxBurstCommands, During: during,
			Values: values(func(o burst) float64 { return o.commands })},
		figure{Name: "1,000 servers in one request, choices of a node", During: during, Values: values(func(o burst) float64 { return o.choices })},
		figure{Name: "1,000 servers in one request, log entries until all are ACTIVE, reports of nodes included", During: during,
			Values: values(func(o burst) float64 { return o.entries })},
		figure{Name: "1,000 servers in one request, to 202", Unit: "s", During: during, Values: values(func(o burst) float64 { return o.accepted.Seconds() })},
		figure{Name: "1,000 servers in one request, to all ACTIVE", Unit: "s", During: during, Values: values(func(o burst) float64 { return o.active.Seconds() })},
	)
	return nil
}

// burst is what one request for many servers took.
type burst struct {
	commands, choices, entries float64
	accepted, active           time.Duration
}

// burst makes servers with one request, waits until all run, and deletes them again.
func (t *town) burst(ctx context.Context, leader *client, s *scene) (o burst, err error) {
	before, err := leader.burstWork(ctx)
	if err != nil {
		return o, err
	}
	start := time.Now()
	if err := leader.post(ctx, "/compute/v2.1/servers", s.server("burst", burstSize), nil); err != nil {
		return o, err
	}
	o.accepted = time.Since(start)
	if err := t.awaitNone(ctx, leader, "status=BUILD", burstPoll); err != nil {
		return o, err
	}
	o.active = time.Since(start)
	after, err := leader.burstWork(ctx)
	if err != nil {
		return o, err
	}
	o.commands, o.choices, o.entries = after.commands-before.commands, after.choices-before.choices, after.entries-before.entries
	return o, t.deleteAll(ctx, leader)
}

// burstWork reads what a leader has done for creates since its start. What it never did it does not count.
func (c *client) burstWork(ctx context.Context) (w burst, err error) {
	for name, into := range map[string]*float64{
		`kilonova_propose_seconds_count{op="CreateInstances",outcome="done"}`: &w.commands,
		`kilonova_placements_total{outcome="placed"}`:                         &w.choices,
		"kilonova_raft_entry_commands_count":                                  &w.entries,
	} {
		switch n, err := c.metric(ctx, name); {
		case err == nil:
			*into = n
		case into == &w.entries:
			return w, err
		}
	}
	return w, nil
}

// deleteAll deletes every server of the administrator's project.
func (t *town) deleteAll(ctx context.Context, c *client) error {
	var listed struct{ Servers []struct{ ID string } }
	if err := c.get(ctx, "/compute/v2.1/servers", &listed); err != nil {
		return err
	}
	for _, s := range listed.Servers {
		if err := c.delete(ctx, "/compute/v2.1/servers/"+s.ID); err != nil {
			return err
		}
	}
	return t.awaitNone(ctx, c, "", activePoll)
}
