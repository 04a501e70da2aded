package chaos

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"
)

// virshLimit bounds one order of virsh to a libvirtd that is well, on a machine that is not.
const virshLimit = 30 * time.Second

// deafened kills libvirtd. The QEMUs run on without it.
func deafened(_ context.Context, _ *nemesis, p *peer, _ choice) (*wound, error) {
	return &wound{what: "kill libvirtd of " + p.Name(), peers: []*peer{p}, mend: p.StartLibvirt}, p.Libvirt.Kill()
}

// dazed stops libvirtd: it keeps its connections and answers nobody.
func dazed(_ context.Context, _ *nemesis, p *peer, _ choice) (*wound, error) {
	return &wound{what: "stop libvirtd of " + p.Name(), peers: []*peer{p},
		mend: func(context.Context) error { return p.Libvirt.Signal(syscall.SIGCONT) }}, p.Libvirt.Signal(syscall.SIGSTOP)
}

// shot kills the QEMU of a guest.
func shot(_ context.Context, _ *nemesis, p *peer, c choice) (*wound, error) {
	id, process, err := p.guest(c.dice)
	if process == nil || err != nil {
		return nil, err
	}
	err = errors.Join(signal(process, syscall.SIGKILL), process.Release())
	return &wound{what: fmt.Sprintf("kill QEMU %s of %s", id, p.Name()), peers: []*peer{p}, mend: nothing}, err
}

// frozen stops the QEMU of a guest: it answers neither libvirt nor its console.
func frozen(_ context.Context, _ *nemesis, p *peer, c choice) (*wound, error) {
	id, process, err := p.guest(c.dice)
	if process == nil || err != nil {
		return nil, err
	}
	return &wound{what: fmt.Sprintf("stop QEMU %s of %s", id, p.Name()), peers: []*peer{p}, mend: func(context.Context) error {
		return errors.Join(signal(process, syscall.SIGCONT), process.Release())
	}}, signal(process, syscall.SIGSTOP)
}

// nothing is how what is over at once is mended.
func nothing(context.Context) error { return nil }

// signal signals a process that may have ended.
func signal(process *os.Process, s syscall.Signal) error {
	if err := process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}

// guest finds one of the QEMUs of a host. The process is a handle of that one, whoever has its number later; nil: there is none.
func (p *peer) guest(dice uint64) (id string, _ *os.Process, err error) {
	all, err := p.Host.QEMUs()
	if err != nil || len(all) == 0 {
		return "", nil, err
	}
	q := all[dice%uint64(len(all))]
	process, err := os.FindProcess(q.PID)
	if err != nil {
		return "", nil, err
	}
	again, err := p.Host.QEMUs() // the number may have been given to another program before it was held
	for _, r := range again {
		if r == q {
			return q.UUID, process, nil
		}
	}
	return "", nil, errors.Join(err, process.Release())
}

// virsh has libvirt do something, as an operator would by hand, and gives the words that it printed.
func (p *peer) virsh(ctx context.Context, args ...string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, virshLimit)
	defer cancel()
	out, err := p.Host.Run(ctx, append([]string{"virsh", "--quiet", "--connect", "qemu:///system"}, args...)...)
	return strings.Fields(out), err
}

// forgetDomains undefines all that libvirt knows: whoever empties a machine's disk empties that of its libvirt, too.
func (p *peer) forgetDomains(ctx context.Context) error {
	ids, err := p.virsh(ctx, "list", "--all", "--uuid")
	for _, id := range ids {
		_, uerr := p.virsh(ctx, "undefine", "--managed-save", id)
		err = errors.Join(err, uerr)
	}
	return err
}

// A byHand is what an operator does with virsh to one of those domains that "virsh list" lists so.
type byHand struct {
	name  string
	which string     // of virsh list
	do    [][]string // orders, which get the domain's ID
}

var (
	destroyed = byHand{"destroy", "--state-running", [][]string{{"destroy"}}}
	undefined = byHand{"undefine", "--persistent", [][]string{{"undefine", "--managed-save"}}}
	both      = byHand{"destroy and undefine", "--state-running", [][]string{{"destroy"}, {"undefine"}}}
	raised    = byHand{"start", "--state-shutoff", [][]string{{"start"}}}
)

// fingered does something by hand to a guest, whose daemon is dead every other time. What libvirt refuses, since the daemon did something meanwhile, is no harm.
func fingered(ctx context.Context, n *nemesis, p *peer, c choice, how byHand) (*wound, error) {
	w := &wound{peers: []*peer{p}, mend: nothing}
	if c.dice%2 == 0 {
		if err := p.kill(); err != nil {
			return nil, err
		}
		w.mend = func(context.Context) error { return p.raise() }
	}
	ids, err := p.virsh(ctx, "list", "--uuid", how.which)
	if err != nil {
		return w, err
	}
	id := "nothing"
	if len(ids) > 0 {
		id = ids[c.dice/2%uint64(len(ids))]
		for _, order := range how.do {
			if _, err := p.virsh(ctx, append(order, id)...); err != nil {
				n.said.say("virsh %s: %v", how.name, err)
			}
		}
	}
	w.what = fmt.Sprintf("%s %s by hand on %s, its daemon dead: %t", how.name, id, p.Name(), c.dice%2 == 0)
	return w, nil
}

// handled is the harm of doing so.
func handled(how byHand) func(context.Context, *nemesis, *peer, choice) (*wound, error) {
	return func(ctx context.Context, n *nemesis, p *peer, c choice) (*wound, error) {
		return fingered(ctx, n, p, c, how)
	}
}
