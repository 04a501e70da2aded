package lease

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// device is a hardware watchdog as Linux shows it (Documentation/watchdog/watchdog-api.rst): it restarts the machine unless it is written
// to in time. It is armed when it is first fed.
type device struct{ file *os.File }

// wdiocSetTimeout is WDIOC_SETTIMEOUT of linux/watchdog.h.
const wdiocSetTimeout = 0xc0045706

// disarm is what the driver wants to read before the file is closed for good.
var disarm = []byte("V")

// feed keeps the machine from being restarted for as long as a lease is: what hangs by then hangs for longer than its lease. An empty path
// is no device, and closes one that is open.
func (d *device) feed(path string, stop time.Duration) error {
	if path == "" {
		return d.close()
	}
	if d.file == nil {
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return fmt.Errorf("open the watchdog device: %w", err)
		}
		if err := unix.IoctlSetPointerInt(int(f.Fd()), wdiocSetTimeout, int(max(1, stop/time.Second))); err != nil {
			_, disarmed := f.Write(disarm)
			return fmt.Errorf("set the time of the watchdog device: %w", errors.Join(err, disarmed, f.Close()))
		}
		d.file = f
	}
	if _, err := d.file.Write([]byte{0}); err != nil {
		return fmt.Errorf("feed the watchdog device: %w", err)
	}
	return nil
}

// close disarms the device.
func (d *device) close() error {
	if d.file == nil {
		return nil
	}
	_, err := d.file.Write(disarm)
	err = errors.Join(err, d.file.Close())
	d.file = nil
	return err
}
