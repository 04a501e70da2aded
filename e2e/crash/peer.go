package crash

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/kilonova/kilonova/e2e/audit"
	"github.com/kilonova/kilonova/node/failpoint"
	"github.com/kilonova/kilonova/virt"
)

// restartAfter is how soon systemd would start a daemon again.
const restartAfter = 300 * time.Millisecond

// peer is a node of the town: its process, whichever that is at the moment, and what is to fail in it.
type peer struct {
	town *town
	name string
	addr string
	dir  string

	mu     sync.Mutex
	armed  map[string]string // action by place
	cmd    *exec.Cmd
	done   chan struct{}
	due    bool // somebody of the test kills it
	held   bool // it is not started again
	ending bool
	deaths int
	wg     sync.WaitGroup

	reading sync.Mutex
	records audit.Tail // guarded by reading
}

func (p *peer) url() string    { return "https://" + p.addr + ":8774" }
func (p *peer) points() string { return p.dir + ".points" }
func (p *peer) trace() string  { return p.dir + ".trace" }
func (p *peer) log() string    { return p.dir + ".log" }

// flags are what it is made with and remembers.
func (p *peer) flags() []string {
	return []string{"--bind", p.addr, "--name", p.name, "--data-dir", p.dir, "--config", os.DevNull, "--driver", "sim", "--bridge", "lan=br0",
		"--sim-vcpus", "1000", "--sim-memory-mib", "1000000", "--sim-disk-gib", "100000", "--sim-boot-delay", "100ms",
		"--deferred-delete", "1h", "--shared-dir", p.town.shared(), "--log-level", "info"}
}

// start runs a command of the program in the background and watches it.
func (p *peer) start(args ...string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ending {
		return nil
	}
	log, err := os.OpenFile(p.log(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	from, err := log.Seek(0, 2)
	if err != nil {
		return err
	}
	cmd := exec.Command(p.town.binary, append([]string{"node"}, args...)...)
	cmd.Env = append(os.Environ(), failpoint.Variable+"=@"+p.points(), "GOTRACEBACK=all")
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", p.name, err)
	}
	p.cmd, p.done, p.due = cmd, make(chan struct{}), false
	p.wg.Go(func() { p.watch(cmd, p.done, from) })
	return nil
}

// watch waits for the end of a process, and starts the next one.
func (p *peer) watch(cmd *exec.Cmd, done chan struct{}, from int64) {
	ended := cmd.Wait()
	defer close(done)
	key := p.killedAt(from)
	p.mu.Lock()
	p.deaths++
	if key != "" {
		delete(p.armed, key)
		if err := p.writeLocked(); err != nil {
			p.town.fault("%s: %v", p.name, err)
		}
	}
	expected := p.due || key != ""
	again := !p.ending && !p.held
	p.mu.Unlock()
	if !expected {
		p.town.fault("%s ended by itself: %v: %s", p.name, ended, p.lastWords())
	}
	if !again {
		return
	}
	p.wg.Go(func() {
		time.Sleep(restartAfter)
		if err := p.run(); err != nil {
			p.town.fault("%v", err)
		}
	})
}

// run starts it again as systemd would, unless it is to stay down.
func (p *peer) run() error {
	p.mu.Lock()
	held := p.held
	p.mu.Unlock()
	if held {
		return nil
	}
	return p.start("run", "--data-dir", p.dir, "--bind", p.addr, "--config", os.DevNull)
}

// killedAt is the place that killed the process that began to log there; "": none did.
func (p *peer) killedAt(from int64) string {
	log, err := os.ReadFile(p.log())
	if err != nil || int64(len(log)) < from {
		return ""
	}
	_, after, found := bytes.Cut(log[from:], []byte("\n"+failpoint.Killed))
	if !found {
		return ""
	}
	key, _, _ := bytes.Cut(after, []byte("\n"))
	return string(key)
}

// kill ends the process as a power cut of the daemon alone would. The guests go on.
func (p *peer) kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.due = true
	if p.cmd != nil {
		_ = p.cmd.Process.Kill() // it may be dead already
	}
}

// cut takes the power from the whole host: its guests end, too, and it stays down until restore.
func (p *peer) cut() error {
	p.mu.Lock()
	p.held = true
	done := p.done
	p.mu.Unlock()
	p.kill()
	<-done
	return p.powerOff(time.Now())
}

// restore gives the power back.
func (p *peer) restore() error {
	p.mu.Lock()
	p.held = false
	p.mu.Unlock()
	return p.run()
}

// incarnationFile tells the daemon in which boot of the host it ran last.
const incarnationFile = "incarnation"

// powerOff writes into the records of the dead host what its power cut did to its guests.
func (p *peer) powerOff(now time.Time) error {
	f, err := os.OpenFile(filepath.Join(p.dir, "sim.json"), os.O_RDWR|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	records, boots := map[string]map[string]any{}, map[string]any{}
	for lines := json.NewDecoder(f); lines.More(); {
		var e struct {
			ID     string         `json:"id"`
			Boot   any            `json:"boot"`
			Record map[string]any `json:"record"`
		}
		if err := lines.Decode(&e); err != nil {
			return fmt.Errorf("read the records of %s: %w", p.name, err)
		}
		records[e.ID], boots[e.ID] = e.Record, e.Boot
	}
	for id, r := range records {
		if power, _ := r["power"].(float64); r == nil || virt.Power(power) != virt.PowerRunning && virt.Power(power) != virt.PowerPaused {
			continue
		}
		r["power"], r["reason"] = virt.PowerOff, "the host went down"
		delete(r, "leaving")
		if all, _ := r["boots"].([]any); len(all) > 0 {
			freeze(all[len(all)-1].(map[string]any), now)
		}
		line, err := json.Marshal(map[string]any{"id": id, "boot": boots[id], "record": r})
		if err != nil {
			return err
		}
		if _, err := f.Write(append(line, '\n')); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(p.dir, incarnationFile), []byte("an earlier one"), 0o600)
}

// freeze ends a boot.
func freeze(b map[string]any, now time.Time) {
	ran, _ := b["ran"].(float64)
	total := time.Duration(ran)
	if text, ok := b["since"].(string); ok {
		if since, err := time.Parse(time.RFC3339Nano, text); err == nil {
			total += now.Sub(since)
		}
	}
	delete(b, "since")
	b["ran"], b["off"], b["reason"] = total, now, "the host went down"
}

// arm says what is to happen at places from now on.
func (p *peer) arm(action string, places ...string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, place := range places {
		p.armed[place] = action
	}
	return p.writeLocked()
}

// disarm lets nothing happen there any more.
func (p *peer) disarm(places ...string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	before := len(p.armed)
	for _, place := range places {
		delete(p.armed, place)
	}
	if len(p.armed) == before {
		return nil
	}
	return p.writeLocked()
}

func (p *peer) write() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.writeLocked()
}

// writeLocked replaces the file that the process reads. The lock is held.
func (p *peer) writeLocked() error {
	var lines []string
	for place, action := range p.armed {
		lines = append(lines, place+"="+action)
	}
	slices.Sort(lines)
	lines = append(lines, "*=trace:"+p.trace(), "")
	if err := os.WriteFile(p.points()+".new", []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		return err
	}
	return os.Rename(p.points()+".new", p.points())
}

// lastWords is the end of its log.
func (p *peer) lastWords() string {
	const enough = 4 << 10
	log, err := os.ReadFile(p.log())
	if err != nil {
		return err.Error()
	}
	return string(log[max(0, len(log)-enough):])
}

// end kills it for good.
func (p *peer) end() {
	p.mu.Lock()
	p.ending = true
	p.mu.Unlock()
	p.kill()
	p.wg.Wait()
}
