package sim

import (
	"fmt"
	"strings"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/virt"
)

// command is what the guest's shell prints when a line was typed.
func (d *Driver) command(id cluster.InstanceID, text string) string {
	verb, rest, _ := strings.Cut(strings.TrimSpace(strings.Map(printable, text)), " ")
	written := 0
	out, err := locked(d, OpDial, func() (string, error) {
		r, ok := d.records[id]
		if !ok || r.Power != virt.PowerRunning {
			return "", nil // its processors stand still
		}
		switch now := d.cfg.Now(); verb {
		case "":
			return "", nil
		case "uptime":
			b := r.lastBoot()
			return fmt.Sprintf("up %.3f s, boot %d of this disk\r\n", b.uptime(now).Seconds(), b.Count), nil
		case "write":
			bytes, err := r.write(rest)
			if err != nil {
				return "", err
			}
			written = bytes
			return "", d.put(id, r)
		case "cat":
			if f := r.Storage.bootFile(); f != nil {
				return strings.ReplaceAll(f.Notes.Text, "\n", "\r\n"), nil
			}
			return "", nil
		case "poweroff":
			r.powerOff("shutdown", now)
			return "", d.put(id, r)
		}
		return fmt.Sprintf("%.64s: command not found\r\n", verb), nil
	})
	if err == nil && written > 0 {
		err = d.settledWrite(id, written)
	}
	if err != nil {
		return err.Error() + "\r\n"
	}
	return out
}
