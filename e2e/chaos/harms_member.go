package chaos

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/kilonova/kilonova/e2e/audit"
	"github.com/kilonova/kilonova/e2e/cloud"
	"github.com/kilonova/kilonova/e2e/lab"
)

const (
	renewLimit  = 5 * time.Minute // from the word that a node is dead until another one is in its place, while other harms are done
	rescueLimit = 15 * time.Second
	joinLimit   = time.Minute
	wordTimeout = 2 * time.Second // for a node to take the operator's word: the one that is lost is asked, too
	cloneLimit  = time.Minute     // for a daemon to notice that it must not run
)

// wiped cuts a host's power for good: the node is given up, its guests on shared disks are started elsewhere, the others are gone, and the machine joins again
// with an empty disk.
func wiped(ctx context.Context, n *nemesis, p *peer, _ choice) (*wound, error) {
	if n.renewing {
		return nil, nil
	}
	if err := p.cut(); err != nil {
		return nil, err
	}
	return n.replaced("cut the power of "+p.Name()+", wipe it and let it join anew", p, func() error { return n.renew(ctx, p) }), nil
}

// replaced is the wound of a host whose node is replaced, which do does beside. It is the only one of its kind meanwhile.
func (n *nemesis) replaced(what string, p *peer, do func() error) *wound {
	n.renewing = true
	over := n.beside(do)
	return &wound{what: what, peers: []*peer{p}, mend: func(ctx context.Context) error {
		err := over(ctx)
		n.renewing = errors.Is(err, errLater)
		return err
	}}
}

// renew does what an operator does about a machine that is lost.
func (t *town) renew(ctx context.Context, p *peer) error {
	ctx, cancel := context.WithTimeout(ctx, renewLimit)
	defer cancel()
	t.wiped.Store(true)
	for _, step := range []struct {
		what string
		do   func(context.Context, *peer) error
	}{
		{"give it up", t.giveUp}, {"wait for what is started elsewhere", t.rescued}, {"remove it", t.remove}, {"wipe it", t.wipe}, {"let it join", t.rejoin},
		{"wait until it votes", t.votes},
	} {
		if err := step.do(ctx, p); err != nil {
			return fmt.Errorf("%s: %w", step.what, err)
		}
		t.said.say("%s: %s: done", p.Name(), step.what)
	}
	return nil
}

// insist asks until somebody answers with one of those.
func (t *town) insist(ctx context.Context, r cloud.Request, into any, status ...int) error {
	for {
		err := t.ask(ctx, r, into, status...)
		if err == nil {
			return nil
		}
		if !pause(ctx, settlePoll) {
			return err
		}
	}
}

// giveUp says that a node is dead, until it counts as dead.
func (t *town) giveUp(ctx context.Context, p *peer) error {
	for {
		said := t.ask(ctx, cloud.Request{Method: http.MethodPost, Path: "/cluster/v1/nodes/" + p.Name() + "/confirm-dead",
			Timeout: wordTimeout}, nil, http.StatusNoContent)
		var got struct{ Node audit.Machine }
		if err := t.ask(ctx, cloud.Request{Path: "/cluster/v1/nodes/" + p.Name(), Timeout: wordTimeout}, &got, http.StatusOK); err == nil && got.Node.Status == "lost" {
			return nil
		}
		if !pause(ctx, settlePoll) {
			return fmt.Errorf("it does not count as dead: %w", errors.Join(said, ctx.Err()))
		}
	}
}

// rescued waits until no guarded server is left on a node that was given up, as far as others have room.
func (t *town) rescued(ctx context.Context, p *peer) error {
	for until := time.Now().Add(rescueLimit); time.Now().Before(until); {
		var got struct {
			Servers []struct {
				audit.Server
				Metadata map[string]string
			}
		}
		left := 0
		err := t.ask(ctx, cloud.Request{Path: "/compute/v2.1/servers/detail?limit=1000", Timeout: wordTimeout}, &got, http.StatusOK)
		for _, s := range got.Servers {
			if s.Host == p.Name() && s.Metadata["kilonova:ha"] != "" {
				left++
			}
		}
		if err == nil && left == 0 || !pause(ctx, settlePoll) {
			break
		}
	}
	return ctx.Err()
}

func (t *town) remove(ctx context.Context, p *peer) error {
	return t.insist(ctx, cloud.Request{Method: http.MethodDelete, Path: "/cluster/v1/nodes/" + p.Name() + "?force=true", Timeout: wordTimeout}, nil, http.StatusNoContent, http.StatusNotFound)
}

// wipe gives a host its power back, with an empty disk.
func (t *town) wipe(ctx context.Context, p *peer) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reading.Lock()
	defer p.reading.Unlock()
	if err := p.Host.PowerOn(); err != nil {
		return err
	}
	if !t.sim {
		if err := errors.Join(p.StartLibvirt(ctx), p.forgetDomains(ctx)); err != nil {
			return err
		}
	}
	dir, err := p.file("")
	if err != nil {
		return err
	}
	p.records.Close()
	p.records = audit.Tail{}
	t.chronicle.Wipe(p.Name())
	return empty(dir)
}

// empty removes all that is in a directory.
func empty(dir string) error {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		err = errors.Join(err, os.RemoveAll(filepath.Join(dir, e.Name())))
	}
	return err
}

// rejoin lets a wiped host join through whichever node lets it.
func (t *town) rejoin(ctx context.Context, p *peer) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var errs []error
	for turn := 0; ; turn++ {
		via := t.peers[turn%len(t.peers)]
		if via == p {
			continue
		}
		err := t.joinVia(ctx, p, via)
		if err == nil {
			p.held = false
			return nil
		}
		errs = append(errs, err)
		if !pause(ctx, settlePoll) {
			return errors.Join(errs...)
		}
	}
}

// votes waits until a node that joined anew takes part in the cluster's agreement. Before that another loss may be one too many.
func (t *town) votes(ctx context.Context, p *peer) error {
	for {
		var got struct{ Node audit.Machine }
		err := t.ask(ctx, cloud.Request{Path: "/cluster/v1/nodes/" + p.Name(), Timeout: wordTimeout}, &got, http.StatusOK)
		if err == nil && (got.Node.Raft == "voter" || got.Node.Raft == "leader") {
			return nil
		}
		if !pause(ctx, settlePoll) {
			return fmt.Errorf("it does not vote: %w", errors.Join(err, ctx.Err()))
		}
	}
}

func (t *town) joinVia(ctx context.Context, p, via *peer) error {
	ctx, cancel := context.WithTimeout(ctx, joinLimit)
	defer cancel()
	var made struct{ Token string }
	if err := t.ask(ctx, cloud.Request{Method: http.MethodPost, Path: "/cluster/v1/tokens", Body: map[string]string{"ttl": "10m"},
		Timeout: wordTimeout}, &made, http.StatusCreated); err != nil {
		return err
	}
	if err := p.StartJoin(via.Node, made.Token); err != nil {
		return err
	}
	if err := p.WaitReady(ctx); err != nil {
		return errors.Join(err, p.Daemon.Kill())
	}
	return nil
}

// cloned copies a node's data directory to another machine, and starts that: as it is, and with its address changed by hand. It has to end each time.
func cloned(ctx context.Context, n *nemesis, p *peer, _ choice) (*wound, error) {
	if n.renewing {
		return nil, nil
	}
	if n.spare == nil {
		spare, err := n.AddHost(lab.HostOptions{DiskMiB: diskMiB})
		if err != nil {
			return nil, err
		}
		n.spare = spare
	}
	if err := p.kill(); err != nil {
		return nil, err
	}
	n.renewing = true // there is one spare
	over := n.beside(func() error { return errors.Join(n.clone(ctx, p), p.raise()) })
	return &wound{what: "start a copy of " + p.Name() + " on another machine", peers: []*peer{p}, mend: func(ctx context.Context) error {
		err := over(ctx)
		n.renewing = errors.Is(err, errLater)
		return err
	}}, nil
}

func (n *nemesis) clone(ctx context.Context, p *peer) error {
	from, err := p.file("")
	if err != nil {
		return err
	}
	to, err := n.spare.Host.Path(n.spare.Host.DataDir())
	if err != nil {
		return err
	}
	if err := empty(to); err != nil {
		return err
	}
	if out, err := exec.CommandContext(ctx, "cp", "-a", from+"/.", to).CombinedOutput(); err != nil {
		return fmt.Errorf("copy the data of %s: %w: %s", p.Name(), err, out)
	}
	if err := p.raise(); err != nil {
		return err
	}
	if err := n.spareEnds(ctx, "is enrolled with --bind"); err != nil {
		return err
	}
	identity := filepath.Join(to, "node.json")
	text, err := os.ReadFile(identity)
	if err != nil {
		return err
	}
	edited := strings.ReplaceAll(string(text), p.Host.Address(), n.spare.Host.Address())
	if err := os.WriteFile(identity, []byte(edited), 0o600); err != nil {
		return err
	}
	return n.spareEnds(ctx, "cannot be copied to another machine")
}

// spareEnds starts the daemon of the spare host, which has to end and to say why.
func (n *nemesis) spareEnds(ctx context.Context, why string) error {
	if err := n.spare.StartDaemon(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, cloneLimit)
	defer cancel()
	select {
	case <-n.spare.Daemon.Done():
	case <-ctx.Done():
		return errors.Join(errors.New("a copy of a node runs"), n.spare.Daemon.Kill())
	}
	if said := lastWords(n.spare, 0); !strings.Contains(said, why) {
		return fmt.Errorf("a copy of a node ended without saying that it %s: %s", why, said)
	}
	return nil
}

// lastWords is the end of what a daemon said, behind the bytes that were there before.
func lastWords(of *cloud.Node, before int) string {
	const enough = 4000
	said, err := of.Daemon.Log()
	if err != nil {
		return err.Error()
	}
	said = said[min(before, len(said)):]
	return said[max(0, len(said)-enough):]
}
