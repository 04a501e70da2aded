package lab

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	// rootDir holds a lock file and a directory for every lab of this machine.
	rootDir = "/var/lib/kilonova-lab"
	// maxLabs bounds the labs that may be up at once; it is the third byte of their addresses.
	maxLabs = 16
	// linkPrefix begins the name of every network link that a lab leaves visible on the machine.
	linkPrefix = "knl"
	// dirEnv marks each process of a lab with the lab's directory, so that Sweep can find it.
	dirEnv = "KNLAB_DIR"
)

// errBusy says that another process holds the index.
var errBusy = errors.New("index is in use")

// claim is a lab's right to an index: addresses, link names and a directory of its own. It lasts until the
// process ends or release is called.
type claim struct {
	index int
	lock  *os.File
}

func (c *claim) dir() string { return labDir(c.index) }

func labDir(index int) string   { return filepath.Join(rootDir, strconv.Itoa(index)) }
func lockPath(index int) string { return labDir(index) + ".lock" }

// takeIndex claims the lowest free index and removes what a dead owner left under it.
func takeIndex() (*claim, error) {
	var skipped []string
	for i := range maxLabs {
		c, err := lockIndex(i)
		if errors.Is(err, errBusy) {
			continue
		}
		if err != nil {
			return nil, err
		}
		err = c.clean()
		if err == nil {
			err = addressesFree(i)
		}
		if err == nil {
			return c, nil
		}
		skipped = append(skipped, err.Error())
		if err := c.release(); err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("take lab index: all %d are in use or unusable %v", maxLabs, skipped)
}

// lockIndex takes the lock of one index, or returns errBusy.
func lockIndex(i int) (*claim, error) {
	for {
		if err := os.MkdirAll(rootDir, 0o755); err != nil {
			return nil, fmt.Errorf("make lab directory: %w", err)
		}
		f, err := os.OpenFile(lockPath(i), os.O_RDWR|os.O_CREATE, 0o644)
		if errors.Is(err, os.ErrNotExist) {
			continue // The last lab of the machine has just removed its directory.
		}
		if err != nil {
			return nil, fmt.Errorf("open lab lock: %w", err)
		}
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
			_ = f.Close()
			if errors.Is(err, unix.EWOULDBLOCK) {
				return nil, errBusy
			}
			return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
		}
		// The former owner removes the file while it holds the lock: what we locked may have no name any more.
		held, err := f.Stat()
		if err != nil {
			_ = f.Close()
			return nil, fmt.Errorf("stat lab lock: %w", err)
		}
		if named, err := os.Stat(f.Name()); err == nil && os.SameFile(held, named) {
			return &claim{index: i, lock: f}, nil
		}
		_ = f.Close()
	}
}

// release gives the index back.
func (c *claim) release() error {
	err := os.Remove(c.lock.Name())
	if cerr := c.lock.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("release lab index %d: %w", c.index, err)
	}
	_ = os.Remove(rootDir) // Only the last lab finds it empty.
	return nil
}

// addressesFree refuses an index whose networks the machine already uses for something else.
func addressesFree(index int) error {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return fmt.Errorf("list addresses: %w", err)
	}
	for _, n := range []network{management, guests} {
		subnet := n.subnet(index)
		for _, a := range addrs {
			if p, ok := a.(*net.IPNet); ok && (subnet.Contains(p.IP) || p.Contains(subnet.IP)) {
				return fmt.Errorf("network %s is in use on this machine (%s)", subnet, p)
			}
		}
	}
	return nil
}

// indexOfLink returns the lab index in the name of a link that a lab made.
func indexOfLink(name string) (int, bool) {
	rest, ok := strings.CutPrefix(name, linkPrefix)
	if !ok {
		return 0, false
	}
	digits, _, ok := strings.Cut(rest, "-")
	if !ok {
		return 0, false
	}
	i, err := strconv.Atoi(digits)
	return i, err == nil && i >= 0 && i < maxLabs
}
