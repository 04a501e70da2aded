package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"unicode"

	"github.com/gophercloud/gophercloud/v2"
)

// The exit codes of every command.
const (
	exitFailed      = 1   // it was refused or went wrong
	exitUsage       = 2   // it was called wrongly; nothing was done
	exitInterrupted = 130 // as the shell reports SIGINT
)

// usageError is a fault in how a command was called.
type usageError struct{ error }

// Unwrap gives what is wrong.
func (e usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// exitCode is what the process ends with.
func exitCode(err error) int {
	var usage usageError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &usage):
		return exitUsage
	case errors.Is(err, context.Canceled):
		return exitInterrupted
	}
	return exitFailed
}

// maxErrorBody bounds what is read of a refusal.
const maxErrorBody = 1 << 20

// refused is what a service answered instead of doing it.
type refused struct {
	status  int
	message string
}

func (e *refused) Error() string {
	switch e.status {
	case http.StatusUnauthorized:
		return e.message + " (the user, the password or the project is wrong, or the token has expired)"
	case http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return e.message + " (whether it was done is not known; `kilonova node list` on a node shows what is wrong)"
	}
	return e.message
}

// isMissing tells whether a service said that there is no such thing.
func isMissing(err error) bool {
	var r *refused
	return errors.As(err, &r) && r.status == http.StatusNotFound
}

// doing says what was being done when something went wrong, and that in the service's own words.
func doing(act string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", act, explain(err))
}

// explain makes a sentence for people of what the client library says.
func explain(err error) error {
	var answer gophercloud.ErrUnexpectedResponseCode
	var certificate *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	var dial *net.OpError
	var address *url.Error
	switch {
	case errors.Is(err, context.Canceled):
		return fmt.Errorf("interrupted: %w", context.Canceled)
	case errors.As(err, &answer):
		return &refused{status: answer.Actual, message: errorMessage(answer.Body, answer.Actual)}
	case errors.As(err, &certificate):
		return fmt.Errorf("%w: name the cluster's own authority, ca.pem beside clouds.yaml, as cacert in clouds.yaml or in OS_CACERT", certificate.Err)
	case errors.As(err, &record):
		return errors.New("the API does not speak TLS there: is auth_url meant to begin with http://?")
	case errors.As(err, &dial) && dial.Op == "dial":
		return fmt.Errorf("nothing answers at %s (%w): is the node running? Any other node answers as well", dial.Addr, dial.Err)
	case errors.As(err, &address):
		return address.Err
	}
	return err
}

// errorMessage finds the sentence in the body of a refusal. The services have their own shapes: Nova and Keystone name
// the fault around an object, Neutron says NeutronError, and Glance has the message at the top, with line breaks of HTML.
func errorMessage(body []byte, status int) string {
	var fields map[string]json.RawMessage
	text := ""
	if json.Unmarshal(body, &fields) == nil {
		if raw, ok := fields["message"]; ok {
			_ = json.Unmarshal(raw, &text) // what is no text says nothing
		}
		for _, raw := range fields {
			var fault struct {
				Message string `json:"message"`
			}
			if text == "" && json.Unmarshal(raw, &fault) == nil {
				text = fault.Message
			}
		}
	}
	text = strings.ReplaceAll(text, "<br />", " ")
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' ' // whoever sent it does not get to move our cursor
		}
		return r
	}, text)
	text = strings.TrimSuffix(strings.Join(strings.Fields(text), " "), ".")
	if text == "" {
		return strings.TrimSpace(fmt.Sprintf("the API answered %d %s", status, http.StatusText(status)))
	}
	return text
}
