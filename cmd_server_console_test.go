package main

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/gophercloud/gophercloud/v2"
)

// attached runs attach against a console that serve is, with in as what is typed. It gives what was printed.
func attached(t *testing.T, in io.Reader, serve func(ctx context.Context, ws *websocket.Conn)) (string, error) {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"binary"}})
		if err != nil {
			t.Error(err)
			return
		}
		defer ws.CloseNow()
		serve(r.Context(), ws)
	}))
	defer s.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	var out bytes.Buffer
	c := &cloud{provider: &gophercloud.ProviderClient{}, out: printer{to: &out}, notes: io.Discard}
	err := c.attach(ctx, "web", s.URL, in)
	return out.String(), err
}

// What is typed reaches the server, the leave key too when it comes from no terminal, and what the server writes is printed as it is.
func TestConsole_PassesEveryByteOn(t *testing.T) {
	typed := "root\r\x1d\x00\xff"
	out, err := attached(t, strings.NewReader(typed), func(ctx context.Context, ws *websocket.Conn) {
		_, b, err := ws.Read(ctx)
		if err != nil || string(b) != typed {
			t.Errorf("the server got %q (%v)", b, err)
		}
		_ = ws.Write(ctx, websocket.MessageBinary, []byte("\x1b[2Jweb login: \xff"))
		ws.Close(websocket.StatusNormalClosure, "The console was closed by the guest.")
	})
	if err != nil || out != "\x1b[2Jweb login: \xff" {
		t.Errorf("printed %q, %v", out, err)
	}
}

func TestConsole_SaysWhyItEnded(t *testing.T) {
	_, err := attached(t, strings.NewReader(""), func(_ context.Context, ws *websocket.Conn) {
		ws.Close(websocket.StatusPolicyViolation, "Instance web is not running.")
	})
	if err == nil || !strings.Contains(err.Error(), "the console ended: Instance web is not running.") {
		t.Errorf("ended with %v", err)
	}
	_, err = attached(t, strings.NewReader(""), func(_ context.Context, ws *websocket.Conn) { ws.CloseNow() })
	if err == nil || !strings.Contains(err.Error(), "cut off") {
		t.Errorf("cut off: %v", err)
	}
}

// A token that is not good any more is told in the words of the node.
func TestConsole_SaysWhyItWasRefused(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set(consoleErrorHeader, "The console token was used already.")
		w.WriteHeader(http.StatusForbidden)
	}))
	defer s.Close()
	c := &cloud{provider: &gophercloud.ProviderClient{}, notes: io.Discard}
	err := c.attach(t.Context(), "web", s.URL, strings.NewReader(""))
	if err == nil || err.Error() != "connect to the console of server web: The console token was used already." {
		t.Errorf("refused with %v", err)
	}
}

// The user types the leave key. What was typed before it is sent, and nothing after it.
func TestSendKeys_StopsAtTheLeaveKey(t *testing.T) {
	out, err := attached(t, strings.NewReader(""), func(ctx context.Context, ws *websocket.Conn) {
		if !sendKeys(ctx, ws, strings.NewReader("exit\r\x1dmore"), true) {
			t.Error("the user has not left")
		}
		ws.Close(websocket.StatusNormalClosure, "")
	})
	if err != nil || out != "exit\r" {
		t.Errorf("sent %q, %v", out, err)
	}
}
