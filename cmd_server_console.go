package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/coder/websocket"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/remoteconsoles"
	"github.com/spf13/cobra"
	"golang.org/x/term"
)

const (
	// leaveKey leaves a console: control and ], as in telnet and virsh.
	leaveKey = 0x1d

	// consoleMessage is how much comes from a console at once, at most.
	consoleMessage = 1 << 20
)

func newServerConsoleCommand(f *cloudFlags) *cobra.Command {
	var vnc bool
	cmd := f.command("console SERVER", "Connect this terminal to the serial console of a server; ctrl-] leaves", cobra.ExactArgs(1),
		func(cmd *cobra.Command, c *cloud, args []string) error {
			opts := remoteconsoles.CreateOpts{Protocol: remoteconsoles.ConsoleProtocolSerial, Type: remoteconsoles.ConsoleTypeSerial}
			if vnc {
				opts = remoteconsoles.CreateOpts{Protocol: remoteconsoles.ConsoleProtocolVNC, Type: remoteconsoles.ConsoleTypeNoVNC}
			}
			console, err := c.console(cmd.Context(), args[0], opts)
			switch {
			case err != nil:
				return err
			case c.out.json:
				return printJSON(c.out.to, console)
			case vnc:
				_, err = fmt.Fprintln(c.out.to, console.URL)
				return err
			}
			return c.attach(cmd.Context(), args[0], console.URL, cmd.InOrStdin())
		})
	cmd.Example = `  kilonova server console web          # log in on the serial port; ctrl-] leaves
  kilonova server console --vnc web    # the address of the screen, for a browser`
	cmd.Flags().BoolVar(&vnc, "vnc", false, "print the address that shows the screen in a browser, good for one use, instead")
	return cmd
}

func (c *cloud) console(ctx context.Context, server string, opts remoteconsoles.CreateOpts) (*remoteconsoles.RemoteConsole, error) {
	found, err := c.findServer(ctx, server)
	if err != nil {
		return nil, err
	}
	s, err := c.compute()
	if err != nil {
		return nil, err
	}
	console, err := remoteconsoles.Create(ctx, s, found.ID, opts).Extract()
	return console, doing("open a console of server "+server, err)
}

// attach connects a terminal to a console until the user leaves or the console ends. What is no terminal is sent as it is, and its
// end does not end the console.
func (c *cloud) attach(ctx context.Context, server, url string, in io.Reader) error {
	ws, res, err := websocket.Dial(ctx, url, &websocket.DialOptions{HTTPClient: &c.provider.HTTPClient, Subprotocols: []string{"binary"}})
	if err != nil {
		if res != nil && res.Header.Get(consoleErrorHeader) != "" {
			err = errors.New(res.Header.Get(consoleErrorHeader))
		}
		return fmt.Errorf("connect to the console of server %s: %w", server, err)
	}
	defer ws.CloseNow()
	ws.SetReadLimit(consoleMessage)
	isTerminal := false
	if file, ok := in.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
		before, err := term.MakeRaw(int(file.Fd()))
		if err != nil {
			return fmt.Errorf("use this terminal for the console: %w", err)
		}
		isTerminal = true
		defer func() { _ = term.Restore(int(file.Fd()), before) }() // nothing else can be done
	}
	// In a raw terminal, a line has to begin with a return.
	fmt.Fprintf(c.notes, "Connected to the serial console of %s. Leave with ctrl-].\r\n", server)
	left := make(chan struct{})
	go func() { // ends with the program, or with its input: nothing wakes a reader of a terminal
		if sendKeys(ctx, ws, in, isTerminal) {
			close(left)
		}
	}()
	err = c.show(ctx, ws, left)
	fmt.Fprint(c.notes, "\r\n")
	return err
}

// consoleErrorHeader says why a console was not opened.
const consoleErrorHeader = "X-Kilonova-Error"

// sendKeys sends what is typed, and tells whether the user wants to leave.
func sendKeys(ctx context.Context, ws *websocket.Conn, in io.Reader, isTerminal bool) (leave bool) {
	buf := make([]byte, 4<<10)
	for {
		n, err := in.Read(buf)
		keys := buf[:n]
		if i := bytes.IndexByte(keys, leaveKey); i >= 0 && isTerminal {
			keys, leave = keys[:i], true
		}
		if len(keys) > 0 && ws.Write(ctx, websocket.MessageBinary, keys) != nil {
			return false // the console ended, which its reader tells
		}
		if leave || err != nil {
			return leave
		}
	}
}

// farewell is how long the user waits for the console's end after leaving it.
const farewell = time.Second

// show prints what comes from the console until it ends, or until the user has left.
func (c *cloud) show(ctx context.Context, ws *websocket.Conn, left <-chan struct{}) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() {
		for {
			_, b, err := ws.Read(ctx)
			if err == nil {
				_, err = c.out.to.Write(b)
			}
			if err != nil {
				ended <- err
				return
			}
		}
	}()
	select {
	case <-left:
		go ws.Close(websocket.StatusNormalClosure, "")
		select {
		case <-ended:
		case <-time.After(farewell):
			stop()
			<-ended
		}
		return nil
	case err := <-ended:
		return consoleEnd(err)
	}
}

// consoleEnd says why a console ended: that its guest closed it is no error.
func consoleEnd(err error) error {
	var c websocket.CloseError
	switch {
	case errors.As(err, &c) && c.Code == websocket.StatusNormalClosure:
		return nil
	case errors.As(err, &c) && c.Reason != "":
		return errors.New("the console ended: " + c.Reason)
	}
	return fmt.Errorf("the console was cut off: %w", err)
}
