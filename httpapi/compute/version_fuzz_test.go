package compute

import "testing"

// Whatever version a client asks for, it is one that is served, or refused.
func FuzzParseVersion(f *testing.F) {
	for _, s := range []string{"", "latest", "2.1", "2.96", "2.100000000000000000000", "3.1", "2.-1", "x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if v, err := parseVersion(s); err == nil && (v < oldest || v > newest) {
			t.Errorf("%q is version %v", s, v)
		}
	})
}
