package node

import (
	"encoding/json"
	"os"
	"time"

	"github.com/kilonova/kilonova/node/lease"
)

// simClockFile keeps when a simulated host booted, as its wall clock had it when the first daemon since then began.
const simClockFile = "sim.clock"

// simZero is what the file holds.
type simZero struct {
	Incarnation string    `json:"incarnation"`
	Boot        time.Time `json:"boot"` // when up was 0
}

// simClock is the clock of a simulated host's guests. Between two boots it goes on steadily, whatever becomes of the wall clock: real guests do not
// notice that either. wall and up are the two clocks that there are. A file that is not of this boot, or that a power cut left unreadable, is
// begun anew.
func (d *dataDir) simClock(incarnation string, wall func() time.Time, up lease.Clock) (func() time.Time, error) {
	var zero simZero
	text, err := os.ReadFile(d.file(simClockFile))
	if err != nil || json.Unmarshal(text, &zero) != nil || zero.Incarnation != incarnation || incarnation == "" {
		zero = simZero{Incarnation: incarnation, Boot: wall().Round(0).Add(-up())}
		if text, err = json.Marshal(zero); err != nil {
			return nil, err
		}
		if err := writeFile(d.file(simClockFile), text); err != nil {
			return nil, err
		}
	}
	return func() time.Time { return zero.Boot.Add(up()) }, nil
}
