package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/kilonova/kilonova/e2e/lab"
)

const (
	minNodes = 1
	maxNodes = 20 // of this machine's memory and patience
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	err := command(ctx, os.Args[1:])
	switch {
	case err == nil:
	case errors.Is(err, flag.ErrHelp):
		os.Exit(2)
	default:
		fmt.Fprintln(os.Stderr, "run:", err)
		os.Exit(1)
	}
}

// command does what the arguments ask for.
func command(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("run", flag.ContinueOnError)
	var t tour
	flags.IntVar(&t.nodes, "nodes", 3, "how many hosts to make")
	flags.StringVar(&t.binary, "kilonova", "bin/kilonova", "the kilonova program")
	flags.BoolVar(&t.brief, "once", false, "end after the tour instead of staying up")
	sweep := flags.Bool("sweep", false, "remove what killed runs left, and end")
	check := flags.Bool("check", false, "fail if a killed run left something, and end")
	if err := flags.Parse(args); err != nil {
		return err
	}
	switch {
	case flags.NArg() > 0:
		return fmt.Errorf("unknown argument %q", flags.Arg(0))
	case t.nodes < minNodes || t.nodes > maxNodes:
		return fmt.Errorf("--nodes %d: give a number from %d to %d", t.nodes, minNodes, maxNodes)
	case *sweep:
		return lab.Sweep()
	case *check:
		return checkLeftovers()
	}
	t.progress = newProgress(os.Stdout)
	return t.run(ctx)
}

func checkLeftovers() error {
	left, err := lab.Leftovers()
	if err != nil {
		return err
	}
	if len(left) > 0 {
		return fmt.Errorf("left behind by labs that were not taken down: %v (remove with --sweep)", left)
	}
	return nil
}
