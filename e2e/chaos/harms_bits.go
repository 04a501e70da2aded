package chaos

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// damaged kills a daemon, and flips a bit of its log or of a snapshot, or cuts the file short. The daemon has to refuse to start, and to say so; or it starts, where the
// bit meant nothing, and is as sound as the others. In the end the disk is replaced.
func damaged(ctx context.Context, n *nemesis, p *peer, c choice) (*wound, error) {
	if n.renewing {
		return nil, nil
	}
	if err := p.kill(); err != nil {
		return nil, err
	}
	dir, err := p.file("raft")
	if err != nil {
		return nil, err
	}
	what, err := damage(dir, c.dice)
	if err != nil {
		return nil, errors.Join(err, p.raise())
	}
	return n.replaced(what+" of "+p.Name(), p, func() error {
		if err := n.suffer(ctx, p); err != nil {
			n.fault("%s of %s: %v", what, p.Name(), err)
		}
		return errors.Join(p.cut(), n.renew(ctx, p))
	}), nil
}

// damage flips a bit or cuts off the end of one of the files below a directory, as the dice have it, and tells which.
func damage(dir string, dice uint64) (what string, err error) {
	var files []string
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && d.Name() != "canary" { // of which nothing is read
			if info, ierr := d.Info(); ierr == nil && info.Size() > 0 {
				files = append(files, path)
			}
		}
		return err
	})
	if err != nil || len(files) == 0 {
		return "", errors.Join(err, errors.New("there is nothing to damage"))
	}
	slices.Sort(files)
	path := files[dice%uint64(len(files))]
	dice /= uint64(len(files))
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return "", err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	cut := dice%4 == 0
	at := int64(dice / 4 % uint64(info.Size()))
	name, _ := filepath.Rel(dir, path)
	if cut {
		return fmt.Sprintf("cut %s at %d of %d bytes", name, at, info.Size()), f.Truncate(at)
	}
	var b [1]byte
	if _, err := f.ReadAt(b[:], at); err != nil {
		return "", err
	}
	b[0] ^= 1 << (dice / 4 / uint64(info.Size()) % 8)
	_, err = f.WriteAt(b[:], at)
	return fmt.Sprintf("flip a bit of %s at %d of %d bytes", name, at, info.Size()), err
}

// crashWords are what a program says that did not know what happened to it.
var crashWords = []string{"panic:", "fatal error:", "SIGBUS", "SIGSEGV", "goroutine "}

// sufferLimit is how long a daemon with a damaged log is looked at.
const sufferLimit = 20 * time.Second

// suffer lets a daemon with a damaged log run for a while. If it ends, it has to say why.
func (t *town) suffer(ctx context.Context, p *peer) error {
	p.mu.Lock()
	said, err := p.Daemon.Log()
	if err == nil {
		err = p.StartDaemon() // and nobody starts it again
	}
	daemon := p.Daemon
	p.mu.Unlock()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, sufferLimit)
	defer cancel()
	select {
	case <-daemon.Done():
	case <-ctx.Done():
		t.said.say("%s runs with it", p.Name())
		return nil
	}
	words := strings.TrimSpace(lastWords(p.Node, len(said)))
	t.said.say("%s ended: %s", p.Name(), words[strings.LastIndexByte(words, '\n')+1:])
	for _, w := range crashWords {
		if strings.Contains(words, w) {
			return fmt.Errorf("it crashed rather than say why it cannot run: %s", words)
		}
	}
	if words == "" {
		return errors.New("it ended and said nothing")
	}
	return nil
}
