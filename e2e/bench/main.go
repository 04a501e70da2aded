package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
)

// options is what the command line says.
type options struct {
	binary   string
	dir      string // holds the nodes' data
	loopback string // the nodes' addresses without the last number
	json     string // where the figures go for machines; "": nowhere
	profiles string // where CPU profiles of the nodes go; "": nowhere
	only     string
	link     string // the speed of the link that cold migrations go over, in the notation of tc(8)
	runs     int
	creates  int
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	err := command(ctx, os.Args[1:])
	switch {
	case err == nil:
	case errors.Is(err, flag.ErrHelp):
		os.Exit(2)
	default:
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// command measures what the arguments ask for.
func command(ctx context.Context, args []string) error {
	if len(args) > 0 && args[0] == streamVerb {
		return streams(ctx, args[1:], os.Stdout)
	}
	var o options
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.StringVar(&o.binary, "kilonova", "bin/kilonova", "the kilonova program")
	flags.StringVar(&o.dir, "dir", os.TempDir(), "directory on the disk to measure")
	flags.StringVar(&o.loopback, "loopback", "127.0.0", "first three numbers of the nodes' addresses")
	flags.StringVar(&o.json, "json", "", "file for the figures as JSON")
	flags.StringVar(&o.profiles, "profiles", "", "directory for CPU profiles of the nodes under load")
	flags.StringVar(&o.only, "only", "", "figures to measure, separated by commas: "+strings.Join(names(), ", ")+" (default: all)")
	flags.StringVar(&o.link, "link", "1gbit", "speed of the link that cold migrations go over, as tc(8) writes it")
	flags.IntVar(&o.runs, "runs", 5, "runs of each figure")
	flags.IntVar(&o.creates, "creates", 1000, "creates in one run")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unknown argument %q", flags.Arg(0))
	}
	if o.runs < 1 || o.creates < 1 {
		return errors.New("--runs and --creates must be above 0")
	}
	chosen, err := choose(o.only)
	if err != nil {
		return err
	}
	if o.binary, err = filepath.Abs(o.binary); err != nil {
		return err
	}
	if _, err := os.Stat(o.binary); err != nil {
		return fmt.Errorf("find the kilonova program (make build makes it): %w", err)
	}
	return measure(ctx, o, chosen)
}

// measure runs the chosen measurements and prints what they found. What was found before an error is printed too.
func measure(ctx context.Context, o options, chosen []measurement) error {
	b := &bench{options: o}
	defer b.close()
	var failed error
	for _, m := range chosen {
		b.say("%s", m.title)
		if err := m.run(ctx, b); err != nil {
			failed = errors.Join(failed, fmt.Errorf("%s: %w", m.name, err))
		}
		if ctx.Err() != nil {
			break
		}
	}
	writeTable(os.Stdout, b.figures)
	if o.json == "" {
		return failed
	}
	text, err := json.MarshalIndent(b.figures, "", "  ")
	if err == nil {
		err = os.WriteFile(o.json, append(text, '\n'), 0o644)
	}
	return errors.Join(failed, err)
}

// measurement is one group of figures that are measured together.
type measurement struct {
	name  string
	title string
	run   func(context.Context, *bench) error
}

// measurements are in the order in which they are made: an idle cluster first, then more and more in it.
func measurements() []measurement {
	return []measurement{
		{"placement", "deciding where instances go, with 1,000 and 100,000 nodes", measurePlacement},
		{"idle", "three nodes with nothing to do", measureIdle},
		{"latency", "one create at a time", measureLatency},
		{"creates", "creates by 64 clients at the same time", measureCreates},
		{"burst", "1,000 servers in one request", measureBurst},
		{"overload", "creates at multiples of what saturates the cluster", measureOverload},
		{"list", "listing servers", measureList},
		{"failover", "writing when the leader is gone", measureFailover},
		{"restart", "starting a node with 10,000 instances in its log", measureRestart},
		{"start", "from the request to the start of a real domain", measureStart},
		{"operations", "what is done to a server, beside the same done by hand", measureOperations},
		{"live", "live migration, beside that by virsh", measureLive},
		{"snapshot", "a snapshot of a running guest with a full disk", measureStill},
		{"copy", "cold migration, beside a plain TCP stream", measureCopy},
	}
}

func names() []string {
	var out []string
	for _, m := range measurements() {
		out = append(out, m.name)
	}
	return out
}

// choose gives the measurements that are named, all when none is.
func choose(only string) ([]measurement, error) {
	all := measurements()
	if only == "" {
		return all, nil
	}
	var chosen []measurement
next:
	for name := range strings.SplitSeq(only, ",") {
		for _, m := range all {
			if m.name == name {
				chosen = append(chosen, m)
				continue next
			}
		}
		return nil, fmt.Errorf("there is no figure %q: choose among %s", name, strings.Join(names(), ", "))
	}
	return chosen, nil
}

// bench is what the measurements share.
type bench struct {
	options
	figures []figure
	shared  *town // the cluster; made when it is first needed
}

func (b *bench) say(format string, args ...any) { fmt.Fprintf(os.Stderr, "==> "+format+"\n", args...) }

func (b *bench) note(format string, args ...any) { fmt.Fprintf(os.Stderr, "    "+format+"\n", args...) }

func (b *bench) add(f ...figure) { b.figures = append(b.figures, f...) }

// town gives the cluster, whose nodes answer.
func (b *bench) town(ctx context.Context) (*town, error) {
	if b.shared != nil {
		return b.shared, nil
	}
	t, err := newTown(ctx, b.options)
	if err != nil {
		return nil, err
	}
	b.shared = t
	return t, nil
}

// close ends the cluster, if there is one. The next measurement that needs one makes another.
func (b *bench) close() {
	if b.shared != nil {
		b.shared.close()
		b.shared = nil
	}
}
