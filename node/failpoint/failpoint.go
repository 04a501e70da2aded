package failpoint

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// Variable is the environment variable that is read.
const Variable = "KILONOVA_FAILPOINTS"

// ErrHit is wrapped by the errors of Hit that a test asked for.
var ErrHit = errors.New("a failpoint was hit")

// Killed stands on standard error before the place that killed the process, as it was named, in the last line.
const Killed = "killed at failpoint "

// waitPoll is how often a waiting Hit looks whether its file is gone.
const waitPoll = 20 * time.Millisecond

// points are what happens where, by name.
type points map[string]*point

type point struct {
	text   string // all that was said of it
	action string // kill, error, sleep, wait or trace
	file   string
	pause  time.Duration
	only   int64 // the hit at which it happens; 0: at each
	hits   atomic.Int64
}

// Hit is the place called name. The error wraps ErrHit, or is that of ctx when it ended while the place slept or waited.
func Hit(ctx context.Context, name string) error {
	once.Do(fromEnvironment)
	if current.Load() == nil {
		return nil
	}
	source.refresh()
	all := *current.Load()
	scopes, _ := ctx.Value(scopeKey{}).([]string)
	all.trace(name, scopes)
	key, p := all.find(name, scopes)
	if p == nil {
		return nil
	}
	if n := p.hits.Add(1); p.only != 0 && n != p.only {
		return nil
	}
	switch p.action {
	case "kill":
		fmt.Fprintln(os.Stderr, Killed+key)
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // it comes any moment
	case "sleep":
		return sleep(ctx, p.pause)
	case "wait":
		return wait(ctx, p.file)
	}
	return fmt.Errorf("%s: %w", name, ErrHit)
}

// find gives what happens at a place, and by which name it was said; nil: nothing.
func (all points) find(name string, scopes []string) (key string, _ *point) {
	for _, s := range scopes {
		if p := all[name+"@"+s]; p != nil {
			return name + "@" + s, p
		}
	}
	return name, all[name]
}

// trace writes down that somebody came by.
func (all points) trace(name string, scopes []string) {
	p := all[everywhere]
	if p == nil {
		return
	}
	f, err := os.OpenFile(p.file, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err == nil {
		_, err = f.WriteString(strings.Join(append([]string{name}, scopes...), " ") + "\n")
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		panic(fmt.Errorf("trace %s: %w", name, err))
	}
}

func parse(spec string) (points, error) {
	all := points{}
	for part := range strings.FieldsFuncSeq(spec, func(r rune) bool { return r == ';' || r == '\n' }) {
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
		if (name == everywhere) != (p.action == "trace") {
			return nil, fmt.Errorf("%q: all places, and only all of them, are traced", part)
		}
		all[name] = p
	}
	return all, nil
}

func parseAction(text string) (*point, error) {
	p := &point{text: text, action: text}
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
	case "wait", "trace":
		if argument == "" {
			return nil, fmt.Errorf("%s needs a file", action)
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
