package main

import (
	"context"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
)

// What is promised of a decision.
const (
	maxDecisionMicros = 5
	maxDecisionGrowth = 2 // from 1,000 to 100,000 nodes
)

// measurePlacement runs the benchmark of package placement, which is where a decision can be timed alone.
func measurePlacement(ctx context.Context, b *bench) error {
	w, err := startWatch(b.dir, nil)
	if err != nil {
		return err
	}
	out, err := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", "^BenchmarkDecide$/^(spread|pack)$/nodes=(1000|100000)$",
		"-count", strconv.Itoa(b.runs), "-benchtime", "200000x", "github.com/kilonova/kilonova/placement").CombinedOutput()
	during := w.stop()
	if err != nil {
		return fmt.Errorf("run the benchmark of placement (from the root of the repository): %w: %s", err, out)
	}
	results := parseBenchmarks(string(out))
	for _, policy := range []string{"spread", "pack"} {
		small := results["BenchmarkDecide/"+policy+"/nodes=1000"]
		large := results["BenchmarkDecide/"+policy+"/nodes=100000"]
		if len(small["p50-ns"]) == 0 || len(large["p50-ns"]) == 0 {
			return fmt.Errorf("read the results of the benchmark: %s", out)
		}
		name := func(what string) string { return "placement (" + policy + "), " + what }
		b.add(
			figure{Name: name("1,000 nodes, p50"), Unit: "us", Values: scaled(small["p50-ns"], 1e-3), During: during},
			figure{Name: name("1,000 nodes, p99"), Unit: "us", Values: scaled(small["p99-ns"], 1e-3), During: during},
			figure{Name: name("100,000 nodes, p50"), Unit: "us", Values: scaled(large["p50-ns"], 1e-3), During: during},
			figure{Name: name("100,000 nodes, p99"), Unit: "us", Values: scaled(large["p99-ns"], 1e-3), Limit: maxDecisionMicros, During: during},
			figure{Name: name("100,000 to 1,000 nodes, p50"), Unit: "times", Values: ratios(large["p50-ns"], small["p50-ns"]),
				Limit: maxDecisionGrowth, During: during},
			figure{Name: name("allocations"), Unit: "", Values: large["allocs/op"], During: during},
		)
	}
	return nil
}

// parseBenchmarks reads what "go test -bench" prints: for each benchmark and unit, the values of its runs.
func parseBenchmarks(out string) map[string]map[string][]float64 {
	results := map[string]map[string][]float64{}
	for line := range strings.Lines(out) {
		fields := strings.Fields(line)
		if len(fields) < 4 || !strings.HasPrefix(fields[0], "Benchmark") {
			continue
		}
		name := fields[0]
		if i := strings.LastIndexByte(name, '-'); i > 0 { // the number of processors
			if _, err := strconv.Atoi(name[i+1:]); err == nil {
				name = name[:i]
			}
		}
		if results[name] == nil {
			results[name] = map[string][]float64{}
		}
		for i := 2; i+1 < len(fields); i += 2 {
			if value, err := strconv.ParseFloat(fields[i], 64); err == nil {
				results[name][fields[i+1]] = append(results[name][fields[i+1]], value)
			}
		}
	}
	return results
}

// ratios divides run by run. Medians of the decisions' own times are compared: a mean holds the times at which others had the processor.
func ratios(a, b []float64) []float64 {
	out := make([]float64, min(len(a), len(b)))
	for i := range out {
		out[i] = a[i] / b[i]
	}
	return out
}

func scaled(values []float64, by float64) []float64 {
	out := make([]float64, len(values))
	for i, v := range values {
		out[i] = v * by
	}
	return out
}
