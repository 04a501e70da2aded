package compute

import (
	"encoding/json"
	"net/http"
	"strings"

	"github.com/kilonova/kilonova/cluster"
)

// maxConsole is how much of a console log is shown at most, in bytes: Nova's MAX_CONSOLE_BYTES.
const maxConsole = 100 << 10

var consoleActions = map[string]serverAction{
	"os-getConsoleOutput": {rule: "os-console-output", who: member, body: consoleSchema, do: showConsole},
	"os-getVNCConsole":    {rule: "os-remote-consoles", who: member, until: 5, do: noConsole},
	"os-getSPICEConsole":  {rule: "os-remote-consoles", who: member, until: 5, do: noConsole},
	"os-getRDPConsole":    {rule: "os-remote-consoles", who: member, until: 5, do: noConsole},
	"os-getSerialConsole": {rule: "os-remote-consoles", who: member, until: 5, do: noConsole},
	"os-getMKSConsole":    {rule: "os-remote-consoles", who: member, until: 5, do: noConsole},
}

func showConsole(c *call, in *cluster.Instance, raw json.RawMessage) error {
	var body struct {
		Length *flexInt `json:"length"`
	}
	if err := json.Unmarshal(raw, &body); err != nil {
		return bad("Malformed request body")
	}
	lines := -1
	if body.Length != nil {
		lines = int(*body.Length)
	}
	switch {
	case c.Console == nil:
		return unsupported("console output")
	case in.Node == "" || in.Status.VM == cluster.VMBuilding && in.Times.Launched == 0 && in.Status.Power == cluster.PowerNoState:
		return conflict("Instance %s is not ready", in.ID)
	}
	text, err := c.Console.Console(c.r.Context(), in, lines)
	switch {
	case cluster.CodeOf(err) == cluster.NotFound:
		return conflict("Instance %s is not ready", in.ID)
	case err != nil:
		c.Log.Warn("console log could not be read", "instance", in.ID, "node", in.Node, "request_id", c.caller.RequestID, "err", err)
		return err
	}
	var j writer
	j.open('{').field("output", printable(text)).close('}')
	return c.send(http.StatusOK, &j)
}

// printable drops what XML could not hold, as Nova does, and what exceeds the limit from the beginning.
func printable(s string) string {
	if len(s) > maxConsole {
		s = s[len(s)-maxConsole:]
	}
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t' || r == '\n' || r == '\r':
		case r < ' ', r >= 0xd800 && r <= 0xdfff, r == 0xfffe || r == 0xffff, r == 0xfffd:
			return -1
		}
		return r
	}, s)
}

// noConsole is Nova's answer where graphical consoles are switched off.
func noConsole(_ *call, _ *cluster.Instance, raw json.RawMessage) error {
	var body struct {
		Type string `json:"type"`
	}
	if err := json.Unmarshal(raw, &body); err != nil || body.Type == "" {
		return bad("Malformed request body")
	}
	return bad("Unavailable console type %s.", body.Type)
}

// createRemoteConsole is the same since 2.6.
func (c *call) createRemoteConsole() error {
	if _, err := c.server(); err != nil {
		return err
	}
	body, err := decode[struct {
		Console struct {
			Type string `json:"type"`
		} `json:"remote_console"`
	}](c, remoteConsoleSchema)
	if err != nil {
		return err
	}
	return bad("Unavailable console type %s.", body.Console.Type)
}
