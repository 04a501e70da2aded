// Command heart is what the small guest runs once its script has found its disk, its name and its network: it counts.
//
// Five times a second it takes the next number, writes it to the guest's disk with a checksum, and only then prints it
// to the serial console, with the name of this boot. Whoever reads the console can tell a guest that went on (the same
// name, higher numbers) from one that was started anew, and the next boot tells whether a number that was printed is
// missing on the disk. It also prints which disks and cards come and go, runs what it is told on the serial console, and
// powers the guest off when its button is pressed.
//
// It is process 1 of the guest, and is built from its own sources alone when the guest is.
package main

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

const (
	beat       = 200 * time.Millisecond
	lookEvery  = 5 // beats between two looks at the hardware
	diskPath   = "/disk"
	ringPath   = diskPath + "/ring"
	consoleTTY = "/dev/console"
)

func main() {
	if len(os.Args) == 3 && os.Args[1] == "peek" {
		peek(os.Args[2])
		return
	}
	out, err := os.OpenFile(consoleTTY, os.O_WRONLY|syscall.O_NOCTTY, 0)
	if err != nil {
		os.Exit(1) // The kernel says that process 1 is gone.
	}
	h := &heart{out: out, leave: make(chan struct{}, 1)}
	h.begin()
	h.run()
}

// peek prints what the ring of another disk holds, for the script.
func peek(path string) {
	_, state, err := openRing(path, os.O_RDONLY)
	if err != nil {
		fmt.Println("unreadable", err)
		return
	}
	fmt.Println(state)
}

// heart is the running guest.
type heart struct {
	ring  *ring // nil without a disk
	now   record
	leave chan struct{}

	mu  sync.Mutex // of whole lines
	out *os.File
}

// say prints one fact. It reaches the console in one piece.
func (h *heart) say(format string, args ...any) {
	h.line("KILONOVA-GUEST " + fmt.Sprintf(format, args...))
}

func (h *heart) line(text string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	_, _ = h.out.WriteString(text + "\r\n")
}

// begin reads what the boots before this one left, runs the user data, and lets the console and the button be heard.
func (h *heart) begin() {
	var id [4]byte
	_, _ = rand.Read(id[:])
	h.now = record{boot: 1, id: hex.EncodeToString(id[:])}
	state := scanned{}
	if os.Getenv("HEART_DISK") != "" {
		r, found, err := openRing(ringPath, os.O_RDWR|os.O_CREATE|syscall.O_DIRECT|syscall.O_SYNC)
		if err != nil {
			h.say("NODISK %v", err)
		}
		h.ring, state = r, found
		h.now.boot, h.now.count = state.last.boot+1, state.last.count
	}
	h.say("BOOT boot=%d count=%d id=%s records=%d", h.now.boot, h.now.count, h.now.id, state.records)
	if state.lost != "" {
		h.say("LOST %s", state.lost)
	}
	h.userData()
	go h.listen()
	go h.watchButton()
	h.say("READY uuid=%s ip=%s", os.Getenv("HEART_UUID"), os.Getenv("HEART_IPS"))
}

func (h *heart) userData() {
	if _, err := os.Stat("/userdata"); err != nil {
		return
	}
	h.say("USERDATA begin")
	cmd := exec.Command("/userdata")
	cmd.Stdout, cmd.Stderr = h.out, h.out
	_ = cmd.Run()
	h.say("USERDATA end status=%d", cmd.ProcessState.ExitCode())
}

// run counts until the guest is told to leave.
func (h *heart) run() {
	seen := hardware{}
	every := time.NewTicker(beat)
	for n := 0; ; n++ {
		if n%lookEvery == 0 {
			seen = h.look(seen)
		}
		h.count()
		select {
		case <-every.C:
		case <-h.leave:
			h.powerOff()
		}
	}
}

// count writes the next number to the disk, and prints it once it is there.
func (h *heart) count() {
	next := h.now
	next.count++
	if h.ring != nil {
		if found, err := h.ring.read(h.now.count); h.ring.began && (err != nil || found != h.now) {
			h.say("FOREIGN expected=%v found=%v %v", h.now, found, err)
		}
		if err := h.ring.write(next); err != nil {
			h.say("UNWRITTEN count=%d %v", next.count, err)
			return
		}
	}
	h.now = next
	h.line(fmt.Sprintf("count %d %s", next.count, next.id))
}

func (h *heart) powerOff() {
	h.say("POWEROFF count=%d", h.now.count)
	if h.ring != nil {
		_ = h.ring.file.Close()
	}
	_ = syscall.Unmount(diskPath, 0)
	syscall.Sync()
	_ = syscall.Reboot(syscall.LINUX_REBOOT_CMD_POWER_OFF)
	select {}
}
