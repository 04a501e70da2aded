package guest

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// heartFiles are the sources of the program that the small guest runs. It needs nothing but Go's standard library, so it is
// built wherever there is Go, also without this tree.
//
//go:embed heart/main.go heart/ring.go heart/hardware.go heart/order.go
var heartFiles embed.FS

const heartModule = "module heart\n\ngo 1.24\n"

type heartSource struct {
	name string
	text []byte
}

func heartSources() ([]heartSource, error) {
	entries, err := heartFiles.ReadDir("heart")
	if err != nil {
		return nil, fmt.Errorf("read sources: %w", err)
	}
	var all []heartSource
	for _, e := range entries {
		text, err := heartFiles.ReadFile("heart/" + e.Name())
		if err != nil {
			return nil, fmt.Errorf("read sources: %w", err)
		}
		all = append(all, heartSource{e.Name(), text})
	}
	return all, nil
}

// buildHeart compiles the program for the guest.
func buildHeart(ctx context.Context, target string) (err error) {
	sources, err := heartSources()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "heart-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	for _, s := range append(sources, heartSource{"go.mod", []byte(heartModule)}) {
		if err := os.WriteFile(filepath.Join(dir, s.name), s.text, 0o644); err != nil {
			return err
		}
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", target, ".")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off", "GOOS=linux", "GOARCH=amd64", "GOTOOLCHAIN=local")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build the guest's program: %w: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}
