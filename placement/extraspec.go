package placement

import (
	"strconv"
	"strings"
)

// satisfies tells whether a host's value meets a flavor's requirement, written in the small language of Nova's
// extra specs (OpenStack documentation, "Flavors: extra specs", operators): "= 4" means at least 4, "== 4" exactly,
// "s== x" compares text, "<in> x" finds a part, "<or> a <or> b" is one of several, "<all-in> a b" finds all the parts,
// "<is> true" compares truth. Without an operator the texts must be equal. A number that does not parse is never met.
func satisfies(have, want string) bool {
	op, rest, _ := strings.Cut(strings.TrimSpace(want), " ")
	rest = strings.TrimSpace(rest)
	switch op {
	case "s==":
		return have == rest
	case "s!=":
		return have != rest
	case "s<":
		return have < rest
	case "s<=":
		return have <= rest
	case "s>":
		return have > rest
	case "s>=":
		return have >= rest
	case "<in>":
		return strings.Contains(have, rest)
	case "<all-in>":
		return containsAll(have, strings.Fields(rest))
	case "<or>":
		return anyOf(have, strings.Split(rest, "<or>"))
	case "<is>":
		return truth(have) == truth(rest)
	case "=", "==", "!=", "<", "<=", ">", ">=":
		return compareNumbers(have, op, rest)
	}
	return have == strings.TrimSpace(want)
}

func containsAll(have string, parts []string) bool {
	for _, p := range parts {
		if !strings.Contains(have, p) {
			return false
		}
	}
	return len(parts) > 0
}

func anyOf(have string, values []string) bool {
	for _, v := range values {
		if have == strings.TrimSpace(v) {
			return true
		}
	}
	return false
}

func truth(s string) bool {
	switch strings.ToLower(s) {
	case "1", "t", "true", "on", "y", "yes":
		return true
	}
	return false
}

func compareNumbers(have, op, want string) bool {
	a, err := strconv.ParseFloat(have, 64)
	if err != nil {
		return false
	}
	b, err := strconv.ParseFloat(want, 64)
	if err != nil {
		return false
	}
	switch op {
	case "=", ">=":
		return a >= b
	case "==":
		return a == b
	case "!=":
		return a != b
	case "<":
		return a < b
	case "<=":
		return a <= b
	default:
		return a > b
	}
}

// versionMeets tells whether a version (major*1,000,000 + minor*1,000 + release) meets every part of a list such as
// ">=6.0,<9" (img_hv_requested_version). A part that does not parse is never met.
func versionMeets(have int, predicate string) bool {
	for part := range strings.SplitSeq(predicate, ",") {
		part = strings.TrimSpace(part)
		digits := strings.TrimLeft(part, "<>=!")
		op := part[:len(part)-len(digits)]
		want, ok := parseVersion(strings.TrimSpace(digits))
		if !ok || !compareVersions(have, op, want) {
			return false
		}
	}
	return true
}

func compareVersions(have int, op string, want int) bool {
	switch op {
	case "==":
		return have == want
	case "!=":
		return have != want
	case "<":
		return have < want
	case "<=":
		return have <= want
	case ">":
		return have > want
	case ">=":
		return have >= want
	}
	return false
}

// parseVersion reads "major[.minor[.release]]".
func parseVersion(s string) (int, bool) {
	parts := strings.Split(s, ".")
	if len(parts) > 3 {
		return 0, false
	}
	version := 0
	for i := range 3 {
		version *= 1000
		if i >= len(parts) {
			continue
		}
		n, err := strconv.ParseUint(parts[i], 10, 16)
		if err != nil || i > 0 && n > 999 {
			return 0, false
		}
		version += int(n)
	}
	return version, true
}
