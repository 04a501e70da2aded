package main

import (
	"bufio"
	"os"
	"os/exec"
	"strings"
	"syscall"
)

// serialTTY is where orders come from. What is printed there goes to the console's log as well.
const serialTTY = "/dev/ttyS0"

// listen carries out what comes in on the serial console. An order is a line "do NAME COMMAND": the shell runs the command,
// and each line that it prints comes back as "SAID NAME ...", and at last "DONE NAME status=0". "leave" powers off.
func (h *heart) listen() {
	in, err := os.OpenFile(serialTTY, os.O_RDONLY|syscall.O_NOCTTY, 0)
	if err != nil {
		h.say("DEAF %v", err)
		return
	}
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		order := strings.TrimSpace(lines.Text())
		if order == "leave" {
			h.askToLeave()
			continue
		}
		rest, ok := strings.CutPrefix(order, "do ")
		if !ok {
			continue
		}
		name, command, _ := strings.Cut(rest, " ")
		h.obey(name, command)
	}
}

func (h *heart) obey(name, command string) {
	cmd := exec.Command("/bin/sh", "-c", command)
	said, _ := cmd.CombinedOutput()
	for line := range strings.Lines(string(said)) {
		h.say("SAID %s %s", name, strings.TrimRight(line, "\r\n"))
	}
	h.say("DONE %s status=%d", name, cmd.ProcessState.ExitCode())
}
