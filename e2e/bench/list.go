package main

import (
	"context"
	"fmt"
	"time"
)

const (
	fewServers  = 1000
	manyServers = 10000

	maxListMillis = 20  // of processor time, for fewServers
	maxPageGrowth = 1.5 // from fewServers to manyServers; a page that looked at all of them would cost ten times as much
	pageSize      = 100

	listRequests = 30
	pageRequests = 200
)

// measureList lists the servers of a project that has few and of one that has many, at the first node.
func measureList(ctx context.Context, b *bench) error {
	t, err := b.town(ctx)
	if err != nil {
		return err
	}
	few, err := t.fill(ctx, "few", fewServers)
	if err != nil {
		return err
	}
	defer few.close()
	many, err := t.fill(ctx, "many", manyServers)
	if err != nil {
		return err
	}
	defer many.close()
	w, err := startWatch(b.dir, t.pids())
	if err != nil {
		return err
	}
	var whole, small, large, growth []float64
	for range b.runs {
		for _, m := range []struct {
			c    *client
			path string
			n    int
			want int
			into *[]float64
		}{
			{few, "", listRequests, fewServers, &whole},
			{few, fmt.Sprintf("?limit=%d", pageSize), pageRequests, pageSize, &small},
			{many, fmt.Sprintf("?limit=%d", pageSize), pageRequests, pageSize, &large},
		} {
			ms, err := t.listCost(ctx, m.c, m.path, m.n, m.want)
			if err != nil {
				return err
			}
			*m.into = append(*m.into, ms)
		}
		growth = append(growth, large[len(large)-1]/small[len(small)-1])
	}
	during := w.stop()
	b.add(
		figure{Name: "GET /servers/detail, 1,000 servers, processor time", Unit: "ms", Values: whole, Limit: maxListMillis, During: during},
		figure{Name: "a page of 100 out of 1,000 servers, processor time", Unit: "ms", Values: small, During: during},
		figure{Name: "a page of 100 out of 10,000 servers, processor time", Unit: "ms", Values: large, During: during},
		figure{Name: "a page of 100, out of 10,000 to out of 1,000", Unit: "times", Values: growth, Limit: maxPageGrowth, During: during},
	)
	return nil
}

// listCost is the processor time that the first node uses for one of n requests, in milliseconds. What it uses anyway, measured before, is
// not counted.
func (t *town) listCost(ctx context.Context, c *client, query string, n, want int) (float64, error) {
	const quiet = time.Second
	idle, err := t.cpuDuring(func() error { return sleep(ctx, quiet) })
	if err != nil {
		return 0, err
	}
	start := time.Now()
	used, err := t.cpuDuring(func() error {
		for range n {
			var answer struct{ Servers []struct{ ID string } }
			if err := c.get(ctx, "/compute/v2.1/servers/detail"+query, &answer); err != nil {
				return err
			}
			if len(answer.Servers) != want {
				return fmt.Errorf("list servers: there are %d instead of %d", len(answer.Servers), want)
			}
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	anyway := idle[0].Seconds() * time.Since(start).Seconds() / quiet.Seconds()
	return 1000 * (used[0].Seconds() - anyway) / float64(n), nil
}
