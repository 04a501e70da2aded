package failpoint

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
)

// everywhere is the name that stands for all places. It is only for tracing.
const everywhere = "*"

// filePrefix makes the variable the name of a file.
const filePrefix = "@"

var (
	current atomic.Pointer[points] // nil: nothing happens anywhere
	once    sync.Once
	source  watched
)

// watched is the file that says what happens where; none if its path is "".
type watched struct {
	mu   sync.Mutex
	path string
	seen os.FileInfo
}

type scopeKey struct{}

// Within says for whose sake the places are come by that are given the context: NAME@SCOPE is the place NAME with any of
// the scopes. They replace those of ctx.
func Within(ctx context.Context, scopes ...string) context.Context {
	if !Armed() {
		return ctx
	}
	return context.WithValue(ctx, scopeKey{}, scopes)
}

// Armed tells whether anything is to happen anywhere, so that nobody prepares scopes in vain.
func Armed() bool {
	once.Do(fromEnvironment)
	return current.Load() != nil
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
	source.mu.Lock()
	defer source.mu.Unlock()
	path, named := strings.CutPrefix(spec, filePrefix)
	source.path, source.seen = "", nil
	if named {
		source.path = path
		current.Store(&points{}) // a file may come to say something at any time
		return source.read()
	}
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

// refresh reads the file again if it is another one by now.
func (w *watched) refresh() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.path == "" {
		return
	}
	if err := w.read(); err != nil {
		panic(err)
	}
}

// read takes the file in. The lock is held.
func (w *watched) read() error {
	info, err := os.Stat(w.path)
	if err != nil {
		return fmt.Errorf("read %s: %w", Variable, err)
	}
	if old := w.seen; old != nil && os.SameFile(old, info) && old.ModTime().Equal(info.ModTime()) && old.Size() == info.Size() {
		return nil
	}
	text, err := os.ReadFile(w.path)
	if err != nil {
		return fmt.Errorf("read %s: %w", Variable, err)
	}
	all, err := parse(string(text))
	if err != nil {
		return fmt.Errorf("read %s: %w", w.path, err)
	}
	if old := current.Load(); old != nil {
		for name, p := range all {
			if was := (*old)[name]; was != nil && was.text == p.text {
				all[name] = was
			}
		}
	}
	w.seen = info
	current.Store(&all)
	return nil
}
