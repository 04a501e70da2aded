package guest

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Console is what a small guest told, read from its serial console.
type Console struct {
	Boots   []Boot   // in the order in which they were begun
	Count   int      // the last number that it counted, on disk and printed
	ID      string   // the boot that counted it
	Alarms  []string // lines that a sound disk and memory never give
	Ready   bool     // the present boot has greeted
	Off     bool     // the present boot has ended by the power button
	Devices map[string]Device
}

// Boot is one start of the guest.
type Boot struct {
	Number  int    // 1 for the first on this disk
	Found   int    // the last number that was on the disk
	Records int    // how many were there
	ID      string // made by the boot, and kept in memory alone
}

// Device is a disk or a card of the guest, by its name there.
type Device struct {
	Bytes  int64  // of a disk
	Serial string // of a disk
	MAC    string // of a card
	IP     string // of a card
}

var (
	countLine = regexp.MustCompile(`^count (\d+) ([0-9a-f]{8})$`)
	bootLine  = regexp.MustCompile(`^BOOT boot=(\d+) count=(\d+) id=([0-9a-f]{8}) records=(\d+)$`)
	diskLine  = regexp.MustCompile(`^DISK (\S+) bytes=(\d+) serial=(\S*)$`)
	cardLine  = regexp.MustCompile(`^NIC (\S+) mac=(\S*) ip=(\S*)$`)
	goneLine  = regexp.MustCompile(`^GONE (\S+)$`)
)

// ReadConsole reads a console log, or its end. Lines of others, and lines that are not whole, are passed over.
func ReadConsole(text string) Console {
	c := Console{Devices: map[string]Device{}}
	last := 0
	for line := range strings.Lines(text) {
		line = strings.Trim(line, "\r\n\x00")
		if m := countLine.FindStringSubmatch(line); m != nil {
			n := number(m[1])
			if m[2] == c.ID && n <= last {
				c.Alarms = append(c.Alarms, fmt.Sprintf("boot %s counted %d after %d", c.ID, n, last))
			}
			if m[2] != c.ID && c.superseded(m[2]) {
				c.Alarms = append(c.Alarms, fmt.Sprintf("boot %s counts on after boot %s was begun", m[2], c.Last().ID))
			}
			c.ID, c.Count, last = m[2], n, n
			continue
		}
		if _, fact, ok := strings.Cut(line, "KILONOVA-GUEST "); ok {
			c.fact(fact)
		}
	}
	return c
}

func (c *Console) fact(line string) {
	word, _, _ := strings.Cut(line, " ")
	switch word {
	case "LOST", "FOREIGN", "UNWRITTEN", "NODISK":
		c.Alarms = append(c.Alarms, line)
	case "READY":
		c.Ready = true
	case "POWEROFF":
		c.Off = true
	}
	if m := bootLine.FindStringSubmatch(line); m != nil {
		b := Boot{Number: number(m[1]), Found: number(m[2]), ID: m[3], Records: number(m[4])}
		if c.ID != "" && b.Number > 1 && b.Found < c.Count {
			c.Alarms = append(c.Alarms, fmt.Sprintf("boot %s finds %d on its disk, and %d was acknowledged before", b.ID, b.Found, c.Count))
		}
		c.Boots = append(c.Boots, b)
		c.Ready, c.Off = false, false
		clear(c.Devices)
	}
	if m := diskLine.FindStringSubmatch(line); m != nil {
		size, _ := strconv.ParseInt(m[2], 10, 64)
		c.Devices[m[1]] = Device{Bytes: size, Serial: m[3]}
	}
	if m := cardLine.FindStringSubmatch(line); m != nil {
		c.Devices[m[1]] = Device{MAC: m[2], IP: m[3]}
	}
	if m := goneLine.FindStringSubmatch(line); m != nil {
		delete(c.Devices, m[1])
	}
}

// number reads what a pattern of digits matched; what does not fit is no number of a guest.
func number(digits string) int {
	n, err := strconv.Atoi(digits)
	if err != nil {
		return 0
	}
	return n
}

// superseded tells whether a boot is known not to be the newest one. The log of a host that lost power may lack when a boot
// began, so one that it does not know is no wonder.
func (c Console) superseded(id string) bool {
	i := slices.IndexFunc(c.Boots, func(b Boot) bool { return b.ID == id })
	return i >= 0 && i < len(c.Boots)-1
}

// Last is the newest boot that the console shows; the zero Boot when it shows none.
func (c Console) Last() Boot {
	if len(c.Boots) == 0 {
		return Boot{}
	}
	return c.Boots[len(c.Boots)-1]
}

// WentOn returns an error unless the guest counted on, in the same memory, since it told before.
func (c Console) WentOn(before Console) error {
	switch {
	case len(c.Alarms) > 0:
		return fmt.Errorf("the guest raised alarm: %s", strings.Join(c.Alarms, "; "))
	case c.ID != before.ID:
		return fmt.Errorf("boot %s counts, and %s did: the guest was started anew", c.ID, before.ID)
	case c.Count <= before.Count:
		return fmt.Errorf("the guest has counted to %d, and was at %d before", c.Count, before.Count)
	}
	return nil
}

// BeganAnew returns an error unless the guest was started anew since it told before, found all on its disk that it had
// written, and counts.
func (c Console) BeganAnew(before Console) error {
	switch {
	case len(c.Alarms) > 0:
		return fmt.Errorf("the guest raised alarm: %s", strings.Join(c.Alarms, "; "))
	case c.ID == before.ID || c.Last().ID != c.ID || !c.Ready:
		return fmt.Errorf("boot %s counts as before", c.ID)
	case c.Last().Number <= before.Last().Number || c.Last().Found < before.Count || c.Count <= c.Last().Found:
		return fmt.Errorf("the guest has found boot %d and %d on its disk, and was at boot %d and %d before",
			c.Last().Number-1, c.Last().Found, before.Last().Number, before.Count)
	}
	return nil
}

// HasNewDisk returns an error unless the guest was started on an empty disk since it told before, and counts.
func (c Console) HasNewDisk(before Console) error {
	switch last := c.Last(); {
	case len(c.Alarms) > 0:
		return fmt.Errorf("the guest raised alarm: %s", strings.Join(c.Alarms, "; "))
	case c.ID == before.ID || last.ID != c.ID || !c.Ready || c.Count == 0:
		return fmt.Errorf("boot %s is at %d", c.ID, c.Count)
	case last.Found != 0 || last.Number != 1:
		return fmt.Errorf("the guest found boot %d and %d on its disk, which should be new", last.Number-1, last.Found)
	}
	return nil
}
