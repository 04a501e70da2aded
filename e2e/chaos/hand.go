package chaos

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/kilonova/kilonova/virt"
)

// endGuest ends one of the guests of a simulated host whose daemon is dead, as an operator with virsh would: every other time the domain is undefined,
// too. It gives the guest's ID; "": none runs.
func (p *peer) endGuest(dice uint64) (string, error) {
	path, err := p.file("sim.json")
	if err != nil {
		return "", err
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	lines, err := running(text)
	if err != nil || len(lines) == 0 {
		return "", err
	}
	id := slices.Sorted(maps.Keys(lines))[dice%uint64(len(lines))]
	line, err := json.Marshal(ended(lines[id], dice/uint64(len(lines))%2 == 0, time.Now()))
	if err != nil {
		return "", err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return "", err
	}
	defer f.Close()
	_, err = f.Write(append(line, '\n'))
	return id, err
}

// running gives the last line of each guest that runs, by ID. A line without its end was never written.
func running(text []byte) (map[string]map[string]any, error) {
	all := map[string]map[string]any{}
	for line := range bytes.Lines(text[:bytes.LastIndexByte(text, '\n')+1]) {
		var e map[string]any
		if err := json.Unmarshal(line, &e); err != nil {
			return nil, fmt.Errorf("read the records of a host: %w", err)
		}
		id, _ := e["id"].(string)
		delete(all, id)
		record, _ := e["record"].(map[string]any)
		if power, _ := record["power"].(float64); virt.Power(power) == virt.PowerRunning {
			all[id] = e
		}
	}
	return all, nil
}

// ended is a line with its guest ended, and undefined or not.
func ended(line map[string]any, undefined bool, now time.Time) map[string]any {
	record := line["record"].(map[string]any)
	record["power"], record["reason"] = virt.PowerOff, "destroyed"
	if boots, _ := record["boots"].([]any); len(boots) > 0 {
		last := boots[len(boots)-1].(map[string]any)
		ran, _ := last["ran"].(float64)
		if text, ok := last["since"].(string); ok {
			if since, err := time.Parse(time.RFC3339Nano, text); err == nil {
				ran += float64(now.Sub(since))
			}
		}
		delete(last, "since")
		last["ran"], last["off"], last["reason"] = int64(ran), now, "destroyed"
	}
	if undefined {
		delete(record, "defined")
	}
	return line
}
