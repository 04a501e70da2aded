package failpoint

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Variable is the environment variable that is read.
const Variable = "KILONOVA_FAILPOINTS"

// ErrHit is wrapped by the errors of Hit that a test asked for.
var ErrHit = errors.New("a failpoint was hit")

// Killed stands on standard error before the name of the place that killed the process, as its last line.
const Killed = "killed at failpoint "

// waitPoll is how often a waiting Hit looks whether its file is gone.
const waitPoll = 20 * time.Millisecond

// points are what happens where, by name.
type points map[string]*point

type point struct {
	action string // kill, error, sleep or wait
	file   string
	pause  time.Duration
	only   int64 // the hit at which it happens; 0: at each
	hits   atomic.Int64
}

var (
	current atomic.Pointer[points]
	once    sync.Once
)

// Hit is the place called name. The error wraps ErrHit, or is that of ctx when it ended while the place slept or waited.
func Hit(ctx context.Context, name string) error {
	once.Do(fromEnvironment)
	all := current.Load()
	if all == nil {
		return nil
	}
	p := (*all)[name]
	if p == nil {
		return nil
	}
	if n := p.hits.Add(1); p.only != 0 && n != p.only {
		return nil
	}
	switch p.action {
	case "kill":
		fmt.Fprintln(os.Stderr, Killed+name)
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // it comes any moment
	case "sleep":
		return sleep(ctx, p.pause)
	case "wait":
		return wait(ctx, p.file)
	}
	return fmt.Errorf("%s: %w", name, ErrHit)
}

// Set makes spec, in the form of the variable, count from now on. An empty one is none.
func Set(spec string) error {
	once.Do(func() {}) // the environment no longer counts
	return set(spec)
}

func fromEnvironment() {
	if err := set(os.Getenv(Variable)); err != nil {
		panic(err)
	}
}

func set(spec string) error {
	all, err := parse(spec)
	if err != nil {
		return fmt.Errorf("read %s: %w", Variable, err)
	}
	if len(all) == 0 {
		current.Store(nil)
		return nil
	}
	current.Store(&all)
	return nil
}

func parse(spec string) (points, error) {
	all := points{}
	for part := range strings.SplitSeq(spec, ";") {
		part = strings.TrimSpace(part)
		if part == "" {
			continue
		}
		name, action, ok := strings.Cut(part, "=")
		if !ok || name == "" {
			return nil, fmt.Errorf("%q is not NAME=ACTION", part)
		}
		p, err := parseAction(action)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		all[name] = p
	}
	return all, nil
}

func parseAction(text string) (*point, error) {
	p := &point{action: text}
	if count, rest, ok := strings.Cut(text, "*"); ok {
		n, err := strconv.ParseInt(count, 10, 64)
		if err != nil || n < 1 {
			return nil, fmt.Errorf("%q does not begin with the number of a hit", text)
		}
		p.only, p.action = n, rest
	}
	action, argument, _ := strings.Cut(p.action, ":")
	switch action {
	case "kill", "error":
		if argument != "" {
			return nil, fmt.Errorf("%s takes nothing after it", action)
		}
	case "sleep":
		d, err := time.ParseDuration(argument)
		if err != nil || d < 0 {
			return nil, fmt.Errorf("sleep needs a duration, not %q", argument)
		}
		p.pause = d
	case "wait":
		if argument == "" {
			return nil, errors.New("wait needs a file")
		}
		p.file = argument
	default:
		return nil, fmt.Errorf("there is no action %q", action)
	}
	p.action = action
	return p, nil
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func wait(ctx context.Context, file string) error {
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		return fmt.Errorf("%w: %w", ErrHit, err)
	}
	for {
		if _, err := os.Lstat(file); errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if err := sleep(ctx, waitPoll); err != nil {
			return err
		}
	}
}
