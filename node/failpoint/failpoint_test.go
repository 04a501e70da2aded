package failpoint

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// Nobody asked for anything: the places do nothing.
func TestHit_DoesNothingByItself(t *testing.T) {
	if err := Hit(t.Context(), "anywhere"); err != nil {
		t.Fatal(err)
	}
}

// A test asks for an error at the second hit of a place, and for nothing elsewhere.
func TestHit_FailsWhereAndWhenItWasAsked(t *testing.T) {
	if err := Set("a/b=2*error; c=sleep:1ms"); err != nil {
		t.Fatal(err)
	}
	defer Set("")
	var got []bool
	for range 3 {
		got = append(got, errors.Is(Hit(t.Context(), "a/b"), ErrHit))
	}
	if got[0] || !got[1] || got[2] {
		t.Errorf("hits failed: %v", got)
	}
	if err := errors.Join(Hit(t.Context(), "c"), Hit(t.Context(), "a")); err != nil {
		t.Error(err)
	}
}

// A place waits until the test has done what it wanted, or until nobody waits for the place any more.
func TestHit_WaitsForItsFileToGo(t *testing.T) {
	file := filepath.Join(t.TempDir(), "here")
	if err := Set("p=wait:" + file); err != nil {
		t.Fatal(err)
	}
	defer Set("")
	done := make(chan error, 1)
	go func() { done <- Hit(t.Context(), "p") }()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		if _, err := os.Lstat(file); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the place did not say that it waits")
		}
	}
	select {
	case err := <-done:
		t.Fatalf("it went on by itself: %v", err)
	case <-time.After(3 * waitPoll):
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Hit(ctx, "p"); !errors.Is(err, context.Canceled) {
		t.Errorf("with its context over: %v", err)
	}
}

// The process is to die as in a power cut: nothing deferred runs.
func TestHit_KillsTheProcess(t *testing.T) {
	if os.Getenv(Variable) != "" {
		_ = Hit(t.Context(), "deadly")
		os.Exit(0)
	}
	cmd := exec.Command(os.Args[0], "-test.run=TestHit_KillsTheProcess")
	cmd.Env = append(os.Environ(), Variable+"=deadly=kill")
	var exit *exec.ExitError
	if err := cmd.Run(); !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("it ended with %v", err)
	}
}

// A slip of the pen in a test must not make it pass.
func TestSet_RefusesWhatItCannotRead(t *testing.T) {
	for _, spec := range []string{"a", "=kill", "a=explode", "a=sleep", "a=sleep:-1s", "a=wait", "a=0*kill", "a=x*kill", "a=kill:now", "*=kill", "a=trace:/f", "*=trace", "@/nowhere"} {
		if err := Set(spec); err == nil {
			t.Errorf("%q was taken", spec)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"", "a=kill", "a/b=2*error;c=wait:/tmp/x", "a=sleep:1s", "a@b=error\n*=trace:/tmp/y"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, spec string) {
		all, err := parse(spec)
		for name, p := range all {
			if err == nil && (name == "" || p.action == "") {
				t.Errorf("%q gives a point without a name or an action", spec)
			}
		}
	})
}

// Two instances come by one place. What was said of one of them does not happen to the other.
func TestWithin_OnlyItsOwnFail(t *testing.T) {
	if err := Set("p@b=error"); err != nil {
		t.Fatal(err)
	}
	defer Set("")
	if err := errors.Join(Hit(t.Context(), "p"), Hit(Within(t.Context(), "a"), "p")); err != nil {
		t.Error(err)
	}
	if err := Hit(Within(t.Context(), "x", "b"), "p"); !errors.Is(err, ErrHit) {
		t.Errorf("within b: %v", err)
	}
}

// A test replaces the file while the process runs. What stays in it goes on counting.
func TestFile_IsReadAgainWhenItWasReplaced(t *testing.T) {
	dir := t.TempDir()
	file, trace := filepath.Join(dir, "points"), filepath.Join(dir, "trace")
	say := func(spec string) {
		t.Helper()
		if err := os.WriteFile(file+".new", []byte(spec), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
	}
	say("")
	if err := Set("@" + file); err != nil {
		t.Fatal(err)
	}
	defer Set("")
	hit := func(want bool, name string) {
		t.Helper()
		if err := Hit(Within(t.Context(), "i"), name); errors.Is(err, ErrHit) != want {
			t.Errorf("%s: %v", name, err)
		}
	}
	hit(false, "a")
	say("a@i=2*error\n*=trace:" + trace + "\n")
	hit(false, "a")
	say("a@i=2*error\nb=error\n*=trace:" + trace + "\n")
	hit(true, "b")
	hit(true, "a")
	hit(false, "a")
	say("")
	hit(false, "b")
	if got, err := os.ReadFile(trace); err != nil || string(got) != "a i\nb i\na i\na i\n" {
		t.Errorf("the trace is %q, %v", got, err)
	}
}
