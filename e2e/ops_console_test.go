package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/coder/websocket"
)

const (
	consoleLimit = 30 * time.Second
	greetingSize = 12 // of VNC: its version (RFC 6143, section 7.1.1)
)

var orders int

// order has the guest run a command, typed on its serial console through the node that it is not on, and returns what the
// command printed there.
func (l *life) order(command string) string {
	l.t.Helper()
	orders++
	name := fmt.Sprintf("o%d", orders)
	address := strings.TrimSpace(l.openstack(l.via, "console", "url", "show", "--serial", "-f", "value", "-c", "url", l.ID))
	text, err := l.typeIn(address, "do "+name+" "+command+"\n", "KILONOVA-GUEST DONE "+name+" status=")
	l.must(err)
	if !strings.Contains(text, "DONE "+name+" status=0") {
		l.t.Errorf("%q failed in the guest: %q", command, text)
	}
	var said []string
	for _, m := range regexp.MustCompile(`KILONOVA-GUEST SAID `+name+` ([^\r\n]*)`).FindAllStringSubmatch(text, -1) {
		said = append(said, m[1])
	}
	return strings.Join(said, "\n")
}

// typeIn sends keys to a serial console, and returns what comes back from it up to the end of a line with certain words. The console
// stays open that long: a guest need not have taken what was typed when its console is closed, and then never does.
func (l *life) typeIn(address, keys, until string) (seen string, err error) {
	ctx, cancel := context.WithTimeout(l.ctx, actLimit)
	defer cancel()
	ws, _, err := websocket.Dial(ctx, address, &websocket.DialOptions{HTTPClient: l.HTTPClient(), Subprotocols: []string{"binary"}})
	if err != nil {
		return "", fmt.Errorf("open serial console: %w", err)
	}
	defer ws.CloseNow()
	if err := ws.Write(ctx, websocket.MessageBinary, []byte(keys)); err != nil {
		return "", fmt.Errorf("type on serial console: %w", err)
	}
	for {
		if _, after, found := strings.Cut(seen, until); found && strings.Contains(after, "\n") {
			return seen, ws.Close(websocket.StatusNormalClosure, "")
		}
		_, b, err := ws.Read(ctx)
		if err != nil {
			return seen, fmt.Errorf("read serial console: %w; it said %q", err, seen)
		}
		seen += string(b)
	}
}

// vnc opens a screen by the address of its page, as the page does, and returns how it greets.
func (l *life) vnc(page string) (string, error) {
	ctx, cancel := context.WithTimeout(l.ctx, consoleLimit)
	defer cancel()
	at, err := url.Parse(page)
	if err != nil {
		return "", err
	}
	path := at.Query().Get("path")
	if path == "" {
		return "", errors.New("the address has no path: " + page)
	}
	ws, _, err := websocket.Dial(ctx, "wss://"+at.Host+"/"+path, &websocket.DialOptions{HTTPClient: l.HTTPClient(), Subprotocols: []string{"binary"}})
	if err != nil {
		return "", fmt.Errorf("open screen: %w", err)
	}
	defer ws.CloseNow()
	greeting := make([]byte, greetingSize)
	if _, err := io.ReadFull(websocket.NetConn(ctx, ws, websocket.MessageBinary), greeting); err != nil {
		return "", fmt.Errorf("read screen: %w", err)
	}
	return string(greeting), nil
}
