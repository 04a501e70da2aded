package identity

import (
	"encoding/json"
	"testing"
)

// Users and projects may have properties of any name. None of them is a member that has a meaning.
func FuzzInputs(f *testing.F) {
	for _, s := range []string{`{"name":"u","password":"p","enabled":false,"colour":"red"}`, `{"tags":["a"],"x":5}`, `null`, `[]`, `{"NAME":"u"}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var u userInput
		var p projectInput
		if json.Unmarshal([]byte(s), &u) == nil {
			for _, name := range []string{"password", "original_password", "enabled", "domain_id"} {
				if _, ok := u.extra[name]; ok {
					t.Errorf("%s is kept among what has no meaning", name)
				}
			}
			_ = u.check()
		}
		if json.Unmarshal([]byte(s), &p) == nil {
			_ = p.check()
		}
	})
}
