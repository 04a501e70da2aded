package main

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"text/template"
	"time"
)

// What Debian's packages run with. Another Python that is earlier in the path does not have them.
const (
	python = "/usr/bin/python3"
	stestr = "/usr/bin/stestr"
)

// suite is Tempest, configured for one cloud.
type suite struct {
	dir   string // its workspace
	nodes int    // that are asked
}

// turns is Python's: it gives each worker another node's configuration.
//
//go:embed sitecustomize.py
var turns []byte

//go:embed tempest.conf.tmpl
var confText string

var conf = template.Must(template.New("tempest.conf").Option("missingkey=error").Parse(confText))

// installed tells what is missing of Tempest on this machine; nil: nothing.
func installed(ctx context.Context) error {
	if _, err := exec.LookPath(stestr); err != nil {
		return fmt.Errorf("%w (scripts/deps installs Debian's python3-tempest)", err)
	}
	_, err := testPath(ctx)
	return err
}

// testPath is the directory of the Python package tempest.
func testPath(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, python, "-c", "import importlib.util as u; print(u.find_spec('tempest').submodule_search_locations[0])").Output()
	if err != nil {
		return "", fmt.Errorf("find Tempest (scripts/deps installs it): %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}

// newSuite makes a workspace in dir, which must exist.
func newSuite(ctx context.Context, dir string, s *scene) (*suite, error) {
	tests, err := testPath(ctx)
	if err != nil {
		return nil, err
	}
	for i, url := range s.AuthURLs {
		var text strings.Builder
		if err := conf.Execute(&text, struct {
			*scene
			Dir, AuthURL string
		}{s, dir, url}); err != nil {
			return nil, err
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("tempest-%d.conf", i)), []byte(text.String()), 0o600); err != nil {
			return nil, err
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "sitecustomize.py"), turns, 0o600); err != nil {
		return nil, err
	}
	// A class is run by one worker: what its tests share is made once. So are all tests of networks: each class is a project
	// that wants the same ranges, and where all networks are on one wire, no project gets the ranges of another.
	runner := fmt.Sprintf("[DEFAULT]\ntest_path=%s/test_discover\ntop_dir=%s\ngroup_regex=tempest\\.api\\.network\\.|([^\\.]*\\.)*\n",
		tests, filepath.Dir(tests))
	if err := os.WriteFile(filepath.Join(dir, ".stestr.conf"), []byte(runner), 0o600); err != nil {
		return nil, err
	}
	return &suite{dir: dir, nodes: len(s.AuthURLs)}, nil
}

// run runs the tests that a regular expression finds, and tells each result as it comes.
func (s *suite) run(ctx context.Context, regex string, workers int, each func(result)) ([]result, error) {
	log, err := os.Create(s.log())
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.CommandContext(ctx, stestr, "run", "--concurrency", strconv.Itoa(workers), regex)
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(), "TEMPEST_CONFIG_DIR="+s.dir, "PYTHONPATH="+s.dir, "KILONOVA_TEMPEST_NODES="+strconv.Itoa(s.nodes),
		"PYTHONWARNINGS=ignore")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) } // its workers are processes too
	cmd.WaitDelay = 10 * time.Second
	cmd.Stderr = log
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	results, err := readResults(io.TeeReader(out, log), each)
	ended := cmd.Wait() // its status says whether tests failed, which the results say better
	switch {
	case ctx.Err() != nil:
		return results, fmt.Errorf("run Tempest: %w", context.Cause(ctx))
	case err != nil:
		return results, err
	case len(results) == 0:
		return nil, errors.Join(errors.New("no test ran; what stestr said is in "+s.log()), ended)
	}
	return results, nil
}

// log is where everything goes that Tempest prints.
func (s *suite) log() string { return filepath.Join(s.dir, "output.log") }

// asked counts the requests to each address that Tempest has noted in its log.
func (s *suite) asked(addrs ...string) (counts []int, err error) {
	log, err := os.ReadFile(filepath.Join(s.dir, "tempest.log"))
	if err != nil {
		return nil, err
	}
	for _, a := range addrs {
		counts = append(counts, bytes.Count(log, []byte(" https://"+a+":")))
	}
	return counts, nil
}
