package volume

import (
	"encoding/json"
	"testing"
)

// Whatever a quota set holds, for whom it is counts among its limits never.
func FuzzLimits(f *testing.F) {
	for _, s := range []string{`{"volumes": 5, "tenant_id": "t", "id": "i"}`, `{"volumes": "7"}`, `{"a": null}`, `null`, `[]`, `{"volumes": 1e400}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var l limits
		if json.Unmarshal([]byte(s), &l) != nil {
			return
		}
		for _, name := range []string{"tenant_id", "id"} {
			if _, ok := l[name]; ok {
				t.Errorf("%s is a limit", name)
			}
		}
	})
}
