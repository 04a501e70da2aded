package placement

import "testing"

// The operators of Nova's extra specs, with the answers of its documentation.
func TestSatisfies_SpeaksTheLanguageOfExtraSpecs(t *testing.T) {
	for _, c := range []struct {
		have, want string
		ok         bool
	}{
		{"1", "1", true}, {"1", "2", false}, {"2", "= 1", true}, {"1", "= 2", false}, {"2", "== 2", true}, {"2", "== 3", false},
		{"2", "!= 3", true}, {"3", ">= 3", true}, {"2", ">= 3", false}, {"2", "<= 3", true}, {"4", "<= 3", false},
		{"2", "< 3", true}, {"3", "> 2", true}, {"x", "> 2", false}, {"2", "> x", false},
		{"abc", "s== abc", true}, {"abc", "s== abd", false}, {"abc", "s!= abd", true}, {"abc", "s< abd", true},
		{"abd", "s<= abc", false}, {"b", "s> a", true}, {"b", "s>= b", true},
		{"12311321", "<in> 11", true}, {"12310321", "<in> 11", false},
		{"[aes, mmx, aux]", "<all-in> aes mmx", true}, {"[aes]", "<all-in> aes mmx", false}, {"[aes]", "<all-in>", false},
		{"12", "<or> 11 <or> 12", true}, {"13", "<or> 11 <or> 12", false},
		{"True", "<is> true", true}, {"no", "<is> True", false},
		{"", "", true}, {"a b", "a b", true},
	} {
		if got := satisfies(c.have, c.want); got != c.ok {
			t.Errorf("satisfies(%q, %q) = %v", c.have, c.want, got)
		}
	}
}

func TestVersionMeets_BadPredicatesAreNeverMet(t *testing.T) {
	const have = 7_002_001 // 7.2.1
	for predicate, want := range map[string]bool{
		">=7.2": true, ">7.2": true, "==7.2.1": true, "!=7": true, "<8,>=6": true, "<=7.2.0": false, ">=8": false,
		"": false, "7.2.1": false, ">=": false, ">=a": false, ">=1.2.3.4": false, ">=7,": false, "=7.2.1": false, ">=6.1000": false,
	} {
		if got := versionMeets(have, predicate); got != want {
			t.Errorf("versionMeets(7.2.1, %q) = %v", predicate, got)
		}
	}
}

// Extra specs and image properties are written by users: reading them must never panic, and a request must always be its
// own equal.
func FuzzNewRequest(f *testing.F) {
	f.Add("capabilities:hypervisor_version", ">= 2", ">=1.0")
	f.Add("trait:X", "required", "")
	f.Add(":", "<or>", ",")
	f.Add("resources1:CUSTOM", "<all-in>", "==.")
	f.Fuzz(func(t *testing.T, k, v, version string) {
		spec := specOf(small)
		spec.Flavor.ExtraSpecs = map[string]string{k: v, "capabilities:cpu_info:model": v}
		spec.Boot.Properties = map[string]string{"img_hv_requested_version": version, k: v}
		a, b := NewRequest(&spec, []string{v, k}, nil), NewRequest(&spec, []string{k, v}, nil)
		if a.key != b.key {
			t.Errorf("keys %q and %q", a.key, b.key)
		}
		x := plainIndex(1, Options{})
		_, ok := x.Choose(&a)
		if e := x.Explain(&a); (e.Node != "") != ok {
			t.Errorf("chosen: %v, explained: %+v", ok, e)
		}
	})
}
