package main

import (
	"log/slog"
	"os"

	"github.com/spf13/cobra"
)

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "kilonova",
		Short: "A compute cloud of equal machines, with OpenStack's API",
		Long: `Kilonova is OpenStack Nova without control-plane machines. Every hypervisor host runs this binary; the
hosts agree among themselves, and any of them answers OpenStack's API.

On the first host:    kilonova node init --bind 192.0.2.11
                      kilonova node token create
On every other host:  kilonova node join 192.0.2.11 --token kn1... --bind 192.0.2.12
Then, from anywhere:  openstack --os-cloud kilonova server list`,
		Version:       version,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddCommand(newNodeCommand())
	return root
}

// newLogger logs to standard error, in text for people.
func newLogger(level string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, err
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: l})), nil
}
