package lease

import (
	"time"

	"golang.org/x/sys/unix"
)

// Clock tells how long the machine has been up. It never runs backwards.
type Clock func() time.Duration

// BootTime is the kernel's clock that also counts while the machine sleeps. All processes of a machine read the same.
func BootTime() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		panic("read CLOCK_BOOTTIME: " + err.Error()) // every kernel since 2.6.39 has it
	}
	return time.Duration(ts.Nano())
}
