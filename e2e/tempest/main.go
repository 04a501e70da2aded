package main

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
)

// everything is what is run when nothing is asked for: the tests of all services that there are.
const everything = `^tempest\.api\.(compute|identity|image|network|volume)\.`

//go:embed expected.txt
var expectedText []byte

// options is what the command line says.
type options struct {
	binary   string
	loopback string
	regex    string
	workers  int
	keep     bool
	whole    bool // every test takes part
	out      io.Writer
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	o := options{out: os.Stdout}
	flag.StringVar(&o.binary, "kilonova", "bin/kilonova", "the kilonova program")
	flag.StringVar(&o.loopback, "loopback", "127.0.3", "first three numbers of the nodes' addresses")
	flag.IntVar(&o.workers, "workers", 3, "tests that run at the same time")
	flag.BoolVar(&o.keep, "keep", false, "keep the logs although all is well")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: tempest [flags] [REGEX]\nRuns the tests whose names REGEX finds; default:", everything)
		flag.PrintDefaults()
	}
	flag.Parse()
	o.regex, o.whole = everything, flag.NArg() == 0
	if !o.whole {
		o.regex = flag.Arg(0)
	}
	_, wrong, err := run(ctx, o)
	for _, w := range wrong {
		fmt.Fprintln(os.Stderr, w)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "tempest:", err)
	}
	if err != nil || len(wrong) > 0 {
		os.Exit(1)
	}
}

// run makes a cluster, runs tests against it, and says what is not as expected.txt says.
func run(ctx context.Context, o options) (results []result, wrong []string, err error) {
	list, err := readExpected(bytes.NewReader(expectedText))
	if err != nil {
		return nil, nil, fmt.Errorf("read expected.txt: %w", err)
	}
	if o.binary, err = filepath.Abs(o.binary); err != nil {
		return nil, nil, err
	}
	dir, err := os.MkdirTemp("", "kilonova-tempest-")
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if err == nil && len(wrong) == 0 && !o.keep {
			err = os.RemoveAll(dir)
			return
		}
		fmt.Fprintln(o.out, "logs and tempest.conf are in", dir)
	}()
	fmt.Fprintf(o.out, "making a cluster of %d nodes\n", townSize)
	t, err := newTown(ctx, o.binary, dir, o.loopback)
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, t.close()) }()
	s, err := stage(ctx, t)
	if err != nil {
		return nil, nil, err
	}
	tests, err := newSuite(ctx, dir, s)
	if err != nil {
		return nil, nil, err
	}
	fmt.Fprintln(o.out, "running Tempest: it needs half a minute to find its tests")
	results, err = tests.run(ctx, o.regex, o.workers, progress(o.out))
	if err != nil {
		return results, nil, err
	}
	if err := tellAsked(o.out, tests, t); err != nil {
		return results, nil, err
	}
	for _, line := range tally(results) {
		fmt.Fprintln(o.out, line)
	}
	return results, judge(results, list, o.whole), nil
}

// progress tells now and then how far the tests are.
func progress(w io.Writer) func(result) {
	const often = 50
	count := map[outcome]int{}
	return func(r result) {
		count[r.Outcome]++
		if n := count[passed] + count[failed] + count[skipped]; n%often == 0 {
			fmt.Fprintf(w, "  %d tests: %d passed, %d failed, %d skipped\n", n, count[passed], count[failed], count[skipped])
		}
	}
}

// tellAsked tells how many requests each node was asked.
func tellAsked(w io.Writer, tests *suite, t *town) error {
	var addrs []string
	for _, p := range t.peers {
		addrs = append(addrs, p.addr)
	}
	counts, err := tests.asked(addrs...)
	for i, n := range counts {
		fmt.Fprintf(w, "requests to %s: %d\n", t.peers[i].name, n)
	}
	return err
}
