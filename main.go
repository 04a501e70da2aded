// Command kilonova is OpenStack Nova without control-plane machines: one binary for every hypervisor host, and for
// whoever uses the cloud.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// version is set by the build.
var version = "devel"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := execute(ctx, newRootCommand())
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "kilonova:", err)
		os.Exit(exitCode(err))
	}
}
