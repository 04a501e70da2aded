package lab

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// victimEnv makes the test binary make a lab, say so and wait to be killed. With "orphaned", the disk of its
// host is frozen; with "frozen", a writer waits for it, too.
const victimEnv = "KNLAB_TEST_VICTIM"

func TestMain(m *testing.M) {
	if os.Getenv(clockEnv) != "" {
		tellTime()
		return
	}
	if os.Getenv(victimEnv) != "" {
		if err := beVictim(); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func beVictim() error {
	l, err := New()
	if err != nil {
		return err
	}
	h, err := l.AddHost(HostOptions{DiskMiB: 64})
	if err != nil {
		return err
	}
	if _, err := h.Start("sleeper", nil, "sleep", "1000"); err != nil {
		return err
	}
	if os.Getenv(victimEnv) != "plain" {
		if err := h.FreezeDisk(); err != nil {
			return err
		}
	}
	if os.Getenv(victimEnv) == "frozen" {
		if _, err := h.Start("writer", nil, "touch", filepath.Join(h.DataDir(), "stuck")); err != nil {
			return err
		}
	}
	fmt.Println(l.Dir())
	select {}
}

func TestClose_LeavesNothing(t *testing.T) {
	l, _ := newLab(t)
	h := addHost(t, l)
	if _, err := h.Start("sleeper", nil, "sleep", "1000"); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if left := leftOf(t, l); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if err := l.Close(); err != nil {
		t.Errorf("the second Close: %v", err)
	}
}

// The lab's process gets SIGKILL. Its hosts die with it, and Sweep removes what is left.
func TestSweep_AfterKillOfTheLab(t *testing.T) {
	dir := killedLab(t, "plain")
	for deadline := time.Now().Add(10 * time.Second); len(processesOf(dir)) > 0; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("processes %v outlived their lab", processesOf(dir))
		}
	}
	sweptClean(t, dir)
}

// The same, while a writer waits for a frozen disk, which not even SIGKILL ends.
func TestSweep_AfterKillOfALabWithAFrozenDisk(t *testing.T) {
	sweptClean(t, killedLab(t, "frozen"))
}

// The same, and no process holds the frozen disk any more: the kernel keeps it without a mount.
func TestSweep_AfterKillOfALabWithAnOrphanedFrozenDisk(t *testing.T) {
	dir := killedLab(t, "orphaned")
	for deadline := time.Now().Add(10 * time.Second); len(processesOf(dir)) > 0; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("processes %v outlived their lab", processesOf(dir))
		}
	}
	sweptClean(t, dir)
}

// The same, where the labs' directory is on a file system of its own, like a machine's /var: of a mount that has gone the kernel
// tells paths without their beginning.
func TestSweep_AfterKillOfALabOnAFileSystemOfItsOwn(t *testing.T) {
	needRoot(t)
	if err := os.MkdirAll(rootDir, 0o755); err != nil {
		t.Fatal(err)
	}
	dir := killedLab(t, "orphaned", "unshare", "--mount", "sh", "-c", `mount --bind "$0" "$0" && exec "$1"`, rootDir)
	for deadline := time.Now().Add(10 * time.Second); len(processesOf(dir)) > 0; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("processes %v outlived their lab", processesOf(dir))
		}
	}
	sweptClean(t, dir)
}

// killedLab makes a lab in another process, started with the given command before its own, kills that, and returns the lab's
// directory.
func killedLab(t *testing.T, kind string, before ...string) string {
	t.Helper()
	needRoot(t)
	argv := append(before, os.Args[0])
	victim := exec.Command(argv[0], argv[1:]...)
	victim.Env = append(os.Environ(), victimEnv+"="+kind)
	victim.Stderr = os.Stderr
	out, err := victim.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := victim.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	_ = victim.Process.Kill()
	_, _ = io.Copy(io.Discard, out)
	_ = victim.Wait()
	if err != nil {
		t.Fatalf("the victim made no lab: %v", err)
	}
	return strings.TrimSpace(line)
}

func sweptClean(t *testing.T, dir string) {
	t.Helper()
	if _, err := os.Stat(dir); err != nil {
		t.Fatalf("nothing to sweep, the test proves nothing: %v", err)
	}
	disk, err := os.Stat(filepath.Join(dir, "host1", "disk.img"))
	if err != nil {
		t.Fatal(err)
	}
	if err := Sweep(); err != nil {
		t.Fatal(err)
	}
	if pids := processesOf(dir); len(pids) > 0 {
		t.Errorf("processes %v outlived their lab", pids)
	}
	left, err := Leftovers()
	if err != nil || strings.Contains(fmt.Sprint(left), dir) {
		t.Errorf("after Sweep: %v, %v", left, err)
	}
	inode := strconv.FormatUint(disk.Sys().(*syscall.Stat_t).Ino, 10)
	loops, err := exec.Command("losetup", "--list", "--noheadings", "--output", "BACK-INO,NAME,BACK-FILE").Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(loops)) {
		if fields := strings.Fields(line); len(fields) > 0 && fields[0] == inode {
			t.Errorf("a loop device outlived its lab: %s", line)
		}
	}
}

// leftOf lists what is left of a closed lab.
func leftOf(t *testing.T, l *Lab) []string {
	t.Helper()
	c, err := lockIndex(l.Index())
	if errors.Is(err, errBusy) {
		t.Skip("another lab took the index already")
	}
	if err != nil {
		t.Fatal(err)
	}
	left, err := c.remains()
	if err := errors.Join(err, c.release()); err != nil {
		t.Fatal(err)
	}
	return left
}
