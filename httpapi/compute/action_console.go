package compute

import (
	"crypto/sha256"
	"encoding/json"
	"net"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/rest"
	"github.com/kilonova/kilonova/httpapi/schema"
)

// maxConsole is how much of a console log is shown at most, in bytes: Nova's MAX_CONSOLE_BYTES.
const maxConsole = 100 << 10

// DefaultConsoleLife is how long a console token lives, and with it the session that it opens: Nova's [consoleauth] token_ttl.
const DefaultConsoleLife = 10 * time.Minute

var consoleActions = map[string]serverAction{
	"os-getConsoleOutput": {rule: "os-console-output", who: member, body: consoleSchema, do: showConsole},
	"os-getVNCConsole":    {rule: "os-remote-consoles", who: member, until: 5, body: consoleTypes("novnc", "xvpvnc"), do: getConsole},
	"os-getSPICEConsole":  {rule: "os-remote-consoles", who: member, until: 5, body: consoleTypes("spice-html5"), do: getConsole},
	"os-getRDPConsole":    {rule: "os-remote-consoles", who: member, until: 5, body: consoleTypes("rdp-html5"), do: getConsole},
	"os-getSerialConsole": {rule: "os-remote-consoles", who: member, until: 5, body: consoleTypes("serial"), do: getConsole},
	"os-getMKSConsole":    {rule: "os-remote-consoles", who: member, until: 5, body: consoleTypes("webmks"), do: getConsole},
}

func consoleTypes(types ...any) *schema.Schema {
	return schema.Record(map[string]*schema.Schema{"type": {Enum: types}}, "type")
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

// getConsole is how a console is asked for before 2.6.
func getConsole(c *call, in *cluster.Instance, raw json.RawMessage) error {
	var body struct {
		Type string `json:"type"`
	}
	if err := json.Unmarshal(raw, &body); err != nil {
		return bad("Malformed request body")
	}
	url, err := c.openConsole(in, body.Type)
	if err != nil {
		return err
	}
	var j writer
	j.open('{').key("console").open('{').field("type", body.Type).field("url", url).close('}').close('}')
	return c.sendSecret(http.StatusOK, &j)
}

// createRemoteConsole is the same since 2.6.
func (c *call) createRemoteConsole() error {
	in, err := c.server()
	if err != nil {
		return err
	}
	body, err := decode[struct {
		Console struct {
			Protocol string `json:"protocol"`
			Type     string `json:"type"`
		} `json:"remote_console"`
	}](c, remoteConsoleSchema)
	if err != nil {
		return err
	}
	if want := protocols[body.Console.Type]; want != body.Console.Protocol {
		return bad("Unavailable console type %s.", body.Console.Type)
	}
	url, err := c.openConsole(in, body.Console.Type)
	if err != nil {
		return err
	}
	var j writer
	j.open('{').key("remote_console").open('{').field("protocol", body.Console.Protocol).field("type", body.Console.Type)
	j.field("url", url).close('}').close('}')
	return c.sendSecret(http.StatusOK, &j)
}

// protocols are the protocols of the console types that are offered.
var protocols = map[string]string{string(cluster.ConsoleNoVNC): "vnc", string(cluster.ConsoleSerial): "serial"}

// consoleWords are what refusals call the request for a console.
var consoleWords = map[string]string{string(cluster.ConsoleNoVNC): "get_vnc_console", string(cluster.ConsoleSerial): "get_serial_console"}

// openConsole makes a token for a console, and gives the URL that it opens it at, on this node.
func (c *call) openConsole(in *cluster.Instance, kind string) (string, error) {
	switch {
	case protocols[kind] == "" || c.ConsoleURL == nil:
		return "", bad("Unavailable console type %s.", kind)
	case in.Node == "" || in.Status.Power != cluster.PowerRunning && in.Status.Power != cluster.PowerPaused:
		return "", conflict("Instance %s is not ready", in.ID)
	}
	if task := in.Status.Task; task == cluster.TaskDeleting || task == cluster.TaskMigrating {
		return "", conflict("Cannot '%s' instance %s while it is in task_state %s", consoleWords[kind], in.ID, task)
	}
	secret := rest.NewUUID()
	// Not through change: a repetition under the same Idempotency-Key needs a token of its own, since the first is kept nowhere.
	_, err := c.Backend.Propose(c.r.Context(), cluster.Command{
		ID: cluster.RequestID(rest.NewUUID()), Time: cluster.At(time.Now()),
		Op: &cluster.AddConsoleToken{Life: c.ConsoleLife, Token: cluster.ConsoleToken{
			Hash: consoleHash(secret), Instance: in.ID, Kind: cluster.ConsoleKind(kind),
			Project: c.caller.ProjectID(), User: c.caller.User.ID, Asked: c.caller.TokenID,
		}},
	})
	if err != nil {
		return "", err
	}
	return c.ConsoleURL(rest.BaseURL(c.r), cluster.ConsoleKind(kind), secret), nil
}

// consoleHash is what the state keeps of a console token.
func consoleHash(secret string) cluster.Hash { return sha256.Sum256([]byte(secret)) }

// sendSecret is send for what nobody on the way may keep.
func (c *call) sendSecret(status int, j *writer) error {
	c.w.Header().Set("Cache-Control", "no-store")
	return c.send(status, j)
}

// anyConsole is the first microversion in which connection details of all types of consoles are shown.
const anyConsole = 31

// showConsoleToken tells where a token that nobody has used leads. It does not use it up.
func (c *call) showConsoleToken() error {
	token, ok := c.view.ConsoleToken(consoleHash(c.param("token")))
	c.r.URL.Path, c.r.URL.RawPath = path.Dir(c.r.URL.Path)+"/***", "" // the access log, which is written later, must not hold the token
	if !ok || token.Used {
		return notFound("Token not found")
	}
	if c.v < anyConsole {
		return &rest.HTTPError{Status: http.StatusUnauthorized, Code: cluster.Unauthorized,
			Message: "The requested console type details are not accessible"}
	}
	in, ok := c.view.Instance(token.Instance)
	if !ok {
		return notFound("Token not found")
	}
	n, ok := c.view.Node(in.Node)
	if !ok {
		return notFound("Token not found")
	}
	var j writer
	j.open('{').key("console").open('{').field("instance_uuid", string(token.Instance)).field("host", n.Address)
	j.fieldNum("port", apiPort(c.r)).key("internal_access_path").null().close('}').close('}')
	return c.sendSecret(http.StatusOK, &j)
}

// apiPort is the port that the client reached this node at. Consoles are behind the same one on every node.
func apiPort(r *http.Request) int64 {
	if _, port, err := net.SplitHostPort(r.Host); err == nil {
		if n, err := strconv.ParseUint(port, 10, 16); err == nil {
			return int64(n)
		}
	}
	if r.TLS != nil {
		return 443
	}
	return 80
}
