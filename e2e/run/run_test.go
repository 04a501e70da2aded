package main

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

func TestCommand_RefusesWhatItCannotDo(t *testing.T) {
	for name, args := range map[string][]string{
		"unknown argument": {"five"},
		"--nodes 0":        {"--nodes", "0"},
		"--nodes 1000":     {"--nodes", "1000"},
	} {
		if err := command(context.Background(), args); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("command(%v) = %v, want an error about %q", args, err, name)
		}
	}
}

// A step that takes long shows that it goes on, in a log by a line now and then; a failed one says so.
func TestStep_ShowsThatItGoesOn(t *testing.T) {
	var out strings.Builder
	p := &progress{out: &out, every: time.Millisecond}
	broken := errors.New("broken")
	err := p.step("boiling water", func() error {
		time.Sleep(20 * time.Millisecond)
		p.say("bubbles")
		return broken
	})
	if !errors.Is(err, broken) {
		t.Errorf("step = %v, want %v", err, broken)
	}
	for _, want := range []string{"==> boiling water\n", "    still at it (0 s)\n", "bubbles\n", "    failed after 0.0 s\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the log lacks %q:\n%s", want, out.String())
		}
	}
}

// What a guest says cannot be taken for our own words, and its carriage returns do not eat them.
func TestQuote_SetsOffEveryLine(t *testing.T) {
	var out strings.Builder
	(&progress{out: &out}).quote("one\r\ntwo\n\n")
	if out.String() != "    | one\n    | two\n" {
		t.Errorf("quote = %q", out.String())
	}
}
