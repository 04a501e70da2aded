package consoleproxy

import (
	"net/url"
	"strings"

	"github.com/kilonova/kilonova/cluster"
)

// URL is where a console is opened with a token, on the node that has the given base URL: a page for people and their browsers, or,
// for a serial console, the websocket itself, as Nova's clients expect.
func URL(base string, kind cluster.ConsoleKind, token string) string {
	query := "?token=" + url.QueryEscape(token)
	if kind == cluster.ConsoleSerial {
		return "ws" + strings.TrimPrefix(base, "http") + Path + "/serial" + query // http becomes ws, https becomes wss
	}
	// noVNC connects to the path that it is told, below the host or below its own page, as its release has it: any path below Path
	// opens a session.
	return base + Path + "/" + Page + "?path=" + url.QueryEscape(strings.TrimPrefix(Path, "/")+"/vnc"+query) + "&autoconnect=true"
}
