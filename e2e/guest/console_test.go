package guest

import (
	"strings"
	"testing"
)

const firstBoot = "[ 1.0] kernel\r\nKILONOVA-GUEST BOOT boot=1 count=0 id=0000aaaa records=0\r\nKILONOVA-GUEST READY uuid=u ip=10.0.0.5\r\n" +
	"KILONOVA-GUEST DISK vda bytes=1048576 serial=abc\r\nKILONOVA-GUEST NIC eth0 mac=fa:16:3e:00:00:05 ip=10.0.0.5\r\n" +
	"count 1 0000aaaa\r\ncount 2 0000aaaa\r\n"

// A guest that goes on is told from one that was started anew, and each from one that lost something.
func TestReadConsole_TellsGoingOnFromBeginningAnew(t *testing.T) {
	before := ReadConsole(firstBoot)
	if d := before.Devices["vda"]; before.Count != 2 || !before.Ready || d.Bytes != 1<<20 || before.Devices["eth0"].IP != "10.0.0.5" {
		t.Fatalf("read %+v", before)
	}
	const again = "KILONOVA-GUEST READY uuid=u ip=\r\ncount 3 0000bbbb\r\n"
	for more, want := range map[string][2]bool{ // went on, began anew
		"":                                  {false, false},
		"count 3 0000aaaa\r\n":              {true, false},
		"count 2 0000aaaa\r\n":              {false, false},
		"count 3 0000aaaa\r\ncount 3 0000a": {true, false},
		"KILONOVA-GUEST BOOT boot=2 count=2 id=0000bbbb records=2\r\n":                                  {false, false},
		"KILONOVA-GUEST BOOT boot=2 count=2 id=0000bbbb records=2\r\n" + again:                          {false, true},
		"KILONOVA-GUEST BOOT boot=2 count=1 id=0000bbbb records=1\r\n" + again:                          {false, false},
		"KILONOVA-GUEST BOOT boot=2 count=2 id=0000bbbb records=1\r\nKILONOVA-GUEST LOST x\r\n" + again: {false, false},
		"KILONOVA-GUEST BOOT boot=2 count=2 id=0000bbbb records=2\r\n" + again + "count 4 0000aaaa\r\n": {false, false},
		"count 9 0000cccc\r\n": {false, false}, // a boot that the log has lost
		"KILONOVA-GUEST FOREIGN expected=1/2/0000aaaa found=1/3/0000cccc\r\ncount 3 0000aaaa\r\n":                         {false, false},
		"KILONOVA-GUEST BOOT boot=1 count=0 id=0000bbbb records=0\r\nKILONOVA-GUEST READY uuid=u ip=\r\ncount 1 0000bbbb": {false, false},
	} {
		now := ReadConsole(firstBoot + more)
		if on, anew := now.WentOn(before), now.BeganAnew(before); (on == nil) != want[0] || (anew == nil) != want[1] {
			t.Errorf("%q: went on: %v, began anew: %v; want %v", more, on, anew, want)
		}
	}
}

// A disk or card that is gone is not counted among the devices, nor what an earlier boot had.
func TestReadConsole_ForgetsDevices(t *testing.T) {
	c := ReadConsole(firstBoot + "KILONOVA-GUEST GONE vda\r\n")
	if _, there := c.Devices["vda"]; there || len(c.Devices) != 1 {
		t.Errorf("devices are %v", c.Devices)
	}
	if c = ReadConsole(firstBoot + "KILONOVA-GUEST BOOT boot=2 count=2 id=0000bbbb records=2"); len(c.Devices) != 0 {
		t.Errorf("devices of the boot before are %v", c.Devices)
	}
}

func FuzzReadConsole(f *testing.F) {
	f.Add(firstBoot)
	f.Add("count 99999999999999999999999 0000aaaa\nKILONOVA-GUEST BOOT")
	f.Fuzz(func(t *testing.T, text string) {
		c := ReadConsole(text)
		if c.Count < 0 || len(c.Boots) > strings.Count(text, "BOOT") {
			t.Errorf("read %+v", c)
		}
	})
}
