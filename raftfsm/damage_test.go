package raftfsm

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kilonova/kilonova/raftfsm/rafttest"
)

// How the test's second process is told what to do.
const (
	damageDir   = "KILONOVA_DAMAGE_DIR"   // the sound directory; only the second process has it
	damageFrom  = "KILONOVA_DAMAGE_FROM"  // first seed; 0 unless told otherwise
	damageCount = "KILONOVA_DAMAGE_COUNT" // seeds; more than damageSeeds find more

	damageSeeds = 250

	// damagePatience is far more than a start takes on a busy machine: beyond it a start runs in circles.
	damagePatience = time.Minute
)

// Anything happens to a byte of anything that a replica keeps, while it is down: bits flip, pages are lost or come from elsewhere, files
// are cut. It starts with exactly what it had, or says which file is not what was written, what to do about it, and changes nothing. It never starts
// with less, and never dies of what it reads: so a process of its own tries one seed after the other.
func TestDamage_IsNeverTakenForTheState(t *testing.T) {
	if dir := os.Getenv(damageDir); dir != "" {
		sufferDamages(t, dir)
		return
	}
	dir := soundDirectory(t)
	child := exec.Command(os.Args[0], "-test.run=^TestDamage_IsNeverTakenForTheState$", "-test.v")
	child.Env = append(os.Environ(), damageDir+"="+dir)
	out, err := child.CombinedOutput()
	last, sound, refused := "", 0, 0
	for line := range strings.Lines(string(out)) {
		switch {
		case strings.HasPrefix(line, "seed "):
			last = line
		case strings.HasPrefix(line, "sound"):
			sound++
		case strings.HasPrefix(line, "refused"):
			refused++
		case strings.Contains(line, "_test.go:"):
			t.Error(strings.TrimSpace(line))
		}
	}
	t.Logf("%d started with what they had, %d refused", sound, refused)
	if err != nil {
		t.Errorf("%v at %s%s", err, last, tail(out))
	}
	if sound == 0 || refused == 0 {
		t.Error("the damages were all of one kind")
	}
}

// tail is the end of what a process said.
func tail(out []byte) string {
	const most = 6 << 10
	return string(out[max(0, len(out)-most):])
}

// soundDirectory makes the directory of a node that wrote some hundred entries, some of them large, and two snapshots, and deleted from its log.
func soundDirectory(t *testing.T) string {
	l := newLab(t)
	l.tune = func(_ int, c *Config) { c.SnapshotEvery = 100 }
	r := l.found()
	for i := range 300 {
		l.must(r, project(i))
		if i == 150 || i == 280 {
			if err := r.raft.Snapshot().Error(); err != nil {
				t.Fatal(err)
			}
		}
	}
	var crowd sync.WaitGroup
	for i := range 100 { // they share a few entries that fill several pages
		crowd.Go(func() { l.must(r, project(1000+i)) })
	}
	crowd.Wait()
	l.must(r, project(300))
	l.stop(r)
	return r.dir
}

func number(name string, otherwise int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return n
	}
	return otherwise
}

func sufferDamages(t *testing.T, dir string) {
	want, err := whatItHas(dir, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	from := number(damageFrom, 0)
	for seed := from; seed < from+number(damageCount, damageSeeds); seed++ {
		hurt := filepath.Join(t.TempDir(), "raft")
		if err := os.CopyFS(hurt, os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
		done := damageOne(t, hurt, uint64(seed))
		fmt.Printf("seed %d: %s\n", seed, done)
		patience := time.AfterFunc(damagePatience, func() { panic("the start does not end") })
		before := contents(t, hurt)
		got, err := whatItHas(hurt, t.TempDir())
		patience.Stop()
		switch {
		case err == nil && got == want:
			fmt.Println("sound")
		case err == nil:
			t.Errorf("seed %d: %s: it started with\n%s, and had\n%s", seed, done, got, want)
		case !strings.Contains(err.Error(), hurt) || !strings.Contains(err.Error(), whatToDo):
			t.Errorf("seed %d: %s: it does not say what to do where: %v", seed, done, err)
		case contents(t, hurt) != before:
			t.Errorf("seed %d: %s: it refused to start, and changed something", seed, done)
		default:
			fmt.Println("refused:", err)
		}
		if err := os.RemoveAll(hurt); err != nil {
			t.Fatal(err)
		}
	}
}

// whatItHas tells all that a directory's replica starts from. It starts it in earnest, too, on a copy.
func whatItHas(dir, scratch string) (string, error) {
	cfg := Config{ID: nodeID(1), Addr: nodeAddr(1), Dir: dir}
	cfg, err := cfg.withDefaults()
	if err != nil {
		return "", err
	}
	d, err := openDisk(cfg, newFault(cfg.OnFatal), func(time.Duration) {})
	if err != nil {
		return "", err
	}
	has, err := d.has()
	if err := errors.Join(err, d.close()); err != nil {
		return "", err
	}
	cfg.Dir = filepath.Join(scratch, "started")
	if err := os.CopyFS(cfg.Dir, os.DirFS(dir)); err != nil {
		return "", err
	}
	cfg.Stream = rafttest.NewNetwork().Listen(cfg.Addr)
	r, err := Open(cfg)
	if err != nil {
		return "", fmt.Errorf("its disk was sound, and it does not start: %w", err)
	}
	for !r.IsLeader() {
		time.Sleep(time.Millisecond)
	}
	has += fmt.Sprintf(", leading with %x", r.View().Hash())
	return has, errors.Join(r.Close(), os.RemoveAll(cfg.Dir))
}

func (d *disk) has() (string, error) {
	m := newFSM(d.log.fault)
	from, err := m.restoreNewest(d.snaps)
	if err != nil {
		return "", err
	}
	known, err := d.snaps.List()
	if err != nil || len(known) == 0 {
		return "", fmt.Errorf("%d snapshots, %w", len(known), err)
	}
	last, err := m.replayAll(d, from)
	if err != nil {
		return "", err
	}
	has := fmt.Sprintf("snapshot %d with %v, log to %d, state %x", from, known[0].Configuration, last, m.state.View().Hash())
	for _, key := range []string{"CurrentTerm", "LastVoteTerm", "LastVoteCand"} {
		val, err := d.log.Get([]byte(key))
		if err != nil {
			return "", err
		}
		has += fmt.Sprintf(", %s %x", key, val)
	}
	return has, nil
}

// contents is all that is in a directory.
func contents(t *testing.T, dir string) string {
	t.Helper()
	var all bytes.Buffer
	for _, path := range files(t, dir) {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&all, "%s %d\n%s\n", path, len(b), b)
	}
	return all.String()
}

func files(t *testing.T, dir string) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() && e.Name() != canaryFile {
			all = append(all, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(all)
	return all
}

// damageOne does to one file of a directory what the seed says, and tells what that was.
func damageOne(t *testing.T, dir string, seed uint64) string {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 0))
	path := filepath.Join(dir, logFile)
	if all := files(t, dir); rng.IntN(3) == 0 {
		path = all[rng.IntN(len(all))]
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(b) == 0 {
		return "an empty file stays as it is"
	}
	b, done := spoil(rng, b, filepath.Base(path) == logFile)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%s: %s", filepath.Base(path), done)
}

// spoil damages bytes. In a file of pages it looks for the places that matter.
func spoil(rng *rand.Rand, b []byte, paged bool) ([]byte, string) {
	const page = 4096
	pages := (len(b) + page - 1) / page
	at, kind := rng.IntN(len(b)), rng.IntN(10)
	switch {
	case paged && kind < 2: // the heads of the file
		at = rng.IntN(2)*page + rng.IntN(pageHeadBytes+headBytes)
	case paged && kind < 6: // the head and the first elements of a page
		at = rng.IntN(pages)*page + rng.IntN(8*elementBytes)
	}
	at = min(at, len(b)-1)
	from, to := at/page*page, min(at/page*page+page, len(b))
	switch kind := rng.IntN(12); {
	case kind == 0:
		return b[:at], fmt.Sprintf("cut at %d", at)
	case kind == 1:
		clear(b[from:to])
		return b, fmt.Sprintf("nothing but zeros from %d to %d", from, to)
	case kind == 2 && paged:
		other := rng.IntN(pages) * page
		copy(b[from:to], b[other:min(other+page, len(b))])
		return b, fmt.Sprintf("the page at %d is the one of %d", from, other)
	case kind == 3:
		b[at] = byte(rng.Uint32())
		return b, fmt.Sprintf("another byte at %d", at)
	default:
		bit := rng.IntN(8)
		b[at] ^= 1 << bit
		return b, fmt.Sprintf("bit %d at %d", bit, at)
	}
}
