package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode"

	"github.com/gophercloud/gophercloud/v2"
)

// TestErrorMessage_FindsTheSentence reads a refusal in the shape of each service.
func TestErrorMessage_FindsTheSentence(t *testing.T) {
	for body, want := range map[string]string{
		`{"itemNotFound":{"code":404,"message":"Instance x could not be found."}}`:             "Instance x could not be found",
		`{"error":{"code":401,"message":"Log in.","title":"Unauthorized"}}`:                    "Log in",
		`{"NeutronError":{"type":"NetworkInUse","message":"It is in use.","detail":""}}`:       "It is in use",
		`{"message":"No image found.<br /><br />\n\n\n","code":"404 Not Found","title":"..."}`: "No image found",
		`<html><body>oops</body></html>`:                                                       "the API answered 404 Not Found",
		``:                                                                                     "the API answered 404 Not Found",
		`[]`:                                                                                   "the API answered 404 Not Found",
		`{"a":1,"b":"c"}`:                                                                      "the API answered 404 Not Found",
		`{"message":7}`:                                                                        "the API answered 404 Not Found",
		`{"x":{"message":"\u001b[2Jgone"}}`:                                                    "[2Jgone",
		`{"x":{"message":"two\nlines\tin"}}`:                                                   "two lines in",
	} {
		if got := errorMessage([]byte(body), 404); got != want {
			t.Errorf("%s: %q instead of %q", body, got, want)
		}
	}
}

// FuzzErrorMessage reads any body. What is printed moves no cursor.
func FuzzErrorMessage(f *testing.F) {
	f.Add([]byte(`{"x":{"message":"\u001b"}}`), 500)
	f.Add([]byte(`{"message":"a<br />b"}`), 0)
	f.Fuzz(func(t *testing.T, body []byte, status int) {
		got := errorMessage(body, status)
		if got == "" || strings.ContainsFunc(got, unicode.IsControl) {
			t.Errorf("%q gives %q", body, got)
		}
	})
}

// TestExplain_SaysWhatToDo looks at refusals that people meet first.
func TestExplain_SaysWhatToDo(t *testing.T) {
	answer := func(status int) error {
		return gophercloud.ErrUnexpectedResponseCode{Actual: status, Body: []byte(`{"error":{"message":"No."}}`)}
	}
	for want, err := range map[string]error{
		"create server web: No (the user, the password or the project is wrong":        doing("create server web", answer(401)),
		"create server web: No (whether it was done is not known; `kilonova node list": doing("create server web", answer(503)),
		"create server web: No": doing("create server web", answer(409)),
		"stop it: interrupted":  doing("stop it", fmt.Errorf("send: %w", context.Canceled)),
	} {
		if !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q does not begin with %q", err, want)
		}
	}
	if !isMissing(doing("x", answer(404))) || isMissing(doing("x", answer(403))) || isMissing(nil) {
		t.Error("isMissing takes something else for a 404, or not a 404 for one")
	}
	if doing("x", nil) != nil {
		t.Error("nothing went wrong, and is an error")
	}
}

// TestExitCode_TellsUsageFromFailure gives scripts what they tell cases apart by.
func TestExitCode_TellsUsageFromFailure(t *testing.T) {
	for want, err := range map[int]error{
		0:               nil,
		exitFailed:      errors.New("no"),
		exitUsage:       fmt.Errorf("x: %w", usagef("--count 0 is less than 1")),
		exitInterrupted: doing("x", context.Canceled),
	} {
		if got := exitCode(err); got != want {
			t.Errorf("%v: exit code %d instead of %d", err, got, want)
		}
	}
}
