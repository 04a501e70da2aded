package libvirt

import (
	"bytes"
	"errors"
	"fmt"

	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.uber.org/goleak"
)

// daemon is a libvirtd of the tests' own. As root it lives in mount, network and PID namespaces of its own,
// with a bridge br0, and knows QEMU; without root it is a session daemon that only runs libvirt's test driver.
type daemon struct {
	socket string
	netns  string // path of its network namespace
	cmd    *exec.Cmd
	log    *bytes.Buffer
	ended  chan struct{}
	pid    int // of libvirtd, as seen here
}

// rootScript prepares the namespaces and runs libvirtd. $1 is a directory of ours, $2 the host's name. The shell stays as process 1
// of its namespace: libvirtd would not reap the orphans of a daemonized QEMU there, and wait for them for ever. A
// libvirtd that ends is started again.
const rootScript = `set -e
mount --make-rprivate /
mount -t proc proc /proc
hostname "$2"
for d in run/libvirt var/lib/libvirt var/log/libvirt var/cache/libvirt; do
  mkdir -p "$1/$d" "/$d"
  mount --bind "$1/$d" "/$d"
done
mkdir -p "$1/etc/libvirt"
mount --bind "$1/etc/libvirt" /etc/libvirt
ip link set lo up
ip link add br0 type bridge
ip link set br0 up
while :; do
  libvirtd --pid-file "$1/libvirtd.pid" || true
  sleep 0.1
done
`

// rootFiles configure a libvirtd as a container can run it: no AppArmor, cgroups or virtlogd.
var rootFiles = map[string]string{
	"libvirtd.conf": "listen_tls = 0\nauth_unix_rw = \"none\"\nhost_uuid = \"HOST-UUID\"\n",
	"qemu.conf": "stdio_handler = \"file\"\nsecurity_driver = \"none\"\nnamespaces = []\ncgroup_controllers = []\n" +
		"user = \"root\"\ngroup = \"root\"\ndynamic_ownership = 0\nremember_owner = 0\n",
}

// startDaemon starts a libvirtd whose files are below dir.
func startDaemon(dir string) (*daemon, error) {
	d := &daemon{log: &bytes.Buffer{}, ended: make(chan struct{})}
	if os.Getuid() == 0 {
		etc := filepath.Join(dir, "etc/libvirt")
		if err := os.MkdirAll(etc, 0o755); err != nil {
			return nil, err
		}
		for name, text := range rootFiles {
			text = strings.ReplaceAll(text, "HOST-UUID", uuid.NewString()) // two hosts of one ID do not migrate
			if err := os.WriteFile(filepath.Join(etc, name), []byte(text), 0o644); err != nil {
				return nil, err
			}
		}
		d.socket = filepath.Join(dir, "run/libvirt/libvirt-sock")
		d.cmd = exec.Command("unshare", "-m", "-n", "-u", "-p", "--fork", "--kill-child", "sh", "-c", rootScript, "sh", dir, filepath.Base(dir))
	} else {
		d.socket = filepath.Join(dir, "libvirt/libvirt-sock")
		d.cmd = exec.Command("libvirtd")
		d.cmd.Env = append(os.Environ(), "XDG_RUNTIME_DIR="+dir, "XDG_CONFIG_HOME="+dir, "XDG_CACHE_HOME="+dir, "HOME="+dir)
	}
	d.cmd.Stdout, d.cmd.Stderr = d.log, d.log
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // the parent whose death ends the daemon is this thread
		defer close(d.ended)
		err := d.cmd.Start()
		started <- err
		if err == nil {
			d.cmd.Wait() // ended by stop; its status says nothing
		}
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	if err := d.await(); err != nil {
		d.stop()
		return nil, fmt.Errorf("%w\n%s", err, d.log)
	}
	return d, nil
}

// await waits for the socket and finds the daemon's process.
func (d *daemon) await() error {
	for range 300 {
		select {
		case <-d.ended:
			return errors.New("libvirtd ended at once")
		case <-time.After(50 * time.Millisecond):
		}
		conn, err := net.Dial("unix", d.socket)
		if err != nil {
			continue
		}
		conn.Close()
		if d.pid, err = d.find(); err == nil {
			d.netns = fmt.Sprintf("/proc/%d/ns/net", d.pid)
		}
		return err
	}
	return errors.New("libvirtd opened no socket")
}

// find gives the process that is libvirtd now.
func (d *daemon) find() (int, error) {
	pid := d.cmd.Process.Pid
	if os.Getuid() != 0 {
		return pid, nil
	}
	shell, err := child(pid, "sh")
	if err != nil {
		return 0, err
	}
	return child(shell, "libvirtd") // the QEMUs of an earlier one are its siblings
}

// restart kills libvirtd as a crash would, and waits for the next one. Its guests keep running.
func (d *daemon) restart(t *testing.T) {
	t.Helper()
	if err := syscall.Kill(d.pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for old, tries := d.pid, 0; d.pid == old; tries++ {
		if err := d.await(); err != nil && tries > 100 {
			t.Fatal(err)
		}
	}
}

// child gives the process's child that runs the named program.
func child(pid int, program string) (int, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return 0, err
	}
	for _, field := range strings.Fields(string(text)) {
		comm, err := os.ReadFile("/proc/" + field + "/comm")
		if err == nil && strings.TrimSpace(string(comm)) == program {
			return strconv.Atoi(field)
		}
	}
	return 0, fmt.Errorf("process %d has no child %s", pid, program)
}

// stop ends the daemon and everything in its namespaces.
func (d *daemon) stop() {
	d.cmd.Process.Kill()
	<-d.ended
}

// freeze makes the daemon stop without closing anything; the result lets it go on.
func (d *daemon) freeze(t *testing.T) (resume func()) {
	t.Helper()
	if err := syscall.Kill(d.pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	resume = func() { syscall.Kill(d.pid, syscall.SIGCONT) }
	t.Cleanup(resume)
	return resume
}

// inside gives a command that runs in the daemon's network namespace.
func (d *daemon) inside(args ...string) *exec.Cmd {
	return exec.Command("nsenter", append([]string{"--net=" + d.netns}, args...)...)
}

// host is a daemon that tests have in common; starting one takes a second, and seconds more when it first looks at QEMU.
type host struct {
	once   sync.Once
	dir    string
	daemon *daemon
	err    error
}

var (
	shared host // the daemon that most tests use
	second host // and one for guests that move
)

func (h *host) start() {
	if h.dir, h.err = os.MkdirTemp("", "kn-libvirt-"); h.err == nil {
		h.daemon, h.err = startDaemon(h.dir)
	}
}

// end stops the daemon, if it was started.
func (h *host) end() {
	if h.daemon != nil {
		h.daemon.stop()
	}
	if h.dir != "" {
		os.RemoveAll(h.dir)
	}
}

// libvirtd gives the shared daemon, or skips the test where libvirtd is not installed.
func libvirtd(t *testing.T) *daemon { return shared.get(t) }

func (h *host) get(t *testing.T) *daemon {
	t.Helper()
	if testing.Short() || os.Getenv("KILONOVA_TEST_UNIT") != "" {
		t.Skip("unit tests only: this test needs a libvirtd")
	}
	if _, err := exec.LookPath("libvirtd"); err != nil {
		t.Skip("libvirtd is not installed (Debian: package libvirt-daemon-system)")
	}
	h.once.Do(h.start)
	if h.err != nil {
		t.Fatal(h.err)
	}
	return h.daemon
}

// needQEMU skips the test where QEMU guests cannot run.
func needQEMU(t *testing.T) *daemon {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("QEMU guests with bridges need root")
	}
	for _, program := range []string{"qemu-system-x86_64", "qemu-img"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%s is not installed", program)
		}
	}
	return libvirtd(t)
}

func TestMain(m *testing.M) {
	code := m.Run()
	shared.end()
	second.end()
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// qemuProcess finds the QEMU of a domain among all processes.
func qemuProcess(t *testing.T, uuid string) int {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		cmdline, err := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		if err == nil && bytes.Contains(cmdline, []byte("\x00-uuid\x00"+uuid+"\x00")) {
			return pid
		}
	}
	t.Fatalf("no QEMU for %s", uuid)
	return 0
}
