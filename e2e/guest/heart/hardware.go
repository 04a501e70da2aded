package main

import (
	"encoding/binary"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// hardware is the disks and cards that the guest has: a line for each, by its device.
type hardware map[string]string

// look prints which disks and cards have come, gone or changed since the last look.
func (h *heart) look(before hardware) hardware {
	now := hardware{}
	disks, _ := filepath.Glob("/sys/block/[vs]d*")
	for _, d := range disks {
		sectors, _ := strconv.ParseInt(fact(d+"/size"), 10, 64)
		now[filepath.Base(d)] = "DISK " + filepath.Base(d) + " bytes=" + strconv.FormatInt(sectors*512, 10) + " serial=" + fact(d+"/serial")
	}
	cards, _ := filepath.Glob("/sys/class/net/*/device")
	for _, c := range cards {
		name := filepath.Base(filepath.Dir(c))
		now[name] = "NIC " + name + " mac=" + fact(filepath.Dir(c)+"/address") + " ip=" + addresses(name)
	}
	for name, line := range now {
		if before[name] != line {
			h.say("%s", line)
		}
	}
	for name := range before {
		if now[name] == "" {
			h.say("GONE %s", name)
		}
	}
	return now
}

// fact reads a one-line file; there is none for what the device does not have.
func fact(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

// addresses are the IPv4 addresses of a card.
func addresses(name string) string {
	card, err := net.InterfaceByName(name)
	if err != nil {
		return ""
	}
	all, err := card.Addrs()
	if err != nil {
		return ""
	}
	var list []string
	for _, a := range all {
		if ip, ok := a.(*net.IPNet); ok && ip.IP.To4() != nil {
			list = append(list, ip.IP.String())
		}
	}
	return strings.Join(list, ",")
}

// What the kernel tells of a key: a time, and then its type, code and value (linux/input.h).
const (
	eventBytes = 24
	typeKey    = 1
	keyPower   = 116
)

// watchButton makes the guest leave when its power button is pressed.
func (h *heart) watchButton() {
	events, _ := filepath.Glob("/sys/class/input/event*")
	for _, e := range events {
		if fact(e+"/device/name") != "Power Button" {
			continue
		}
		f, err := os.Open("/dev/input/" + filepath.Base(e))
		if err != nil {
			continue
		}
		go func() {
			event := make([]byte, eventBytes)
			for {
				if _, err := io.ReadFull(f, event); err != nil {
					return
				}
				if binary.LittleEndian.Uint16(event[16:]) == typeKey && binary.LittleEndian.Uint16(event[18:]) == keyPower {
					h.askToLeave()
				}
			}
		}()
	}
}

func (h *heart) askToLeave() {
	select {
	case h.leave <- struct{}{}:
	default:
	}
}
