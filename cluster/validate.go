package cluster

import (
	"net/netip"
	"slices"
	"unicode"
	"unicode/utf8"
)

// The checks of this file keep bad data out of the state whatever path it takes: the API refuses it first, and
// in the words of the API; these are the last line.

// firstOf gives the first refusal, if any.
func firstOf(errs ...*Error) *Error {
	for _, e := range errs {
		if e != nil {
			return e
		}
	}
	return nil
}

// checkID takes what is safe as a part of a key and as the name of a file: letters, digits, '.', '_' and '-',
// not beginning with a dot.
func checkID[T ~string](what string, id T) *Error {
	if len(id) == 0 || len(id) > maxID || id[0] == '.' {
		return Errorf(Invalid, "%s ID %.80q is not valid", what, string(id))
	}
	for _, c := range []byte(id) {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !letter && c != '.' && c != '_' && c != '-' {
			return Errorf(Invalid, "%s ID %.80q is not valid", what, string(id))
		}
	}
	return nil
}

// checkOptionalID takes an empty ID too.
func checkOptionalID[T ~string](what string, id T) *Error {
	if id == "" {
		return nil
	}
	return checkID(what, id)
}

// checkName takes 1 to maxName characters without control characters.
func checkName(what, s string) *Error {
	if s == "" {
		return Errorf(Invalid, "%s must not be empty", what)
	}
	return checkText(what, s)
}

// checkText takes up to maxName characters without control characters.
func checkText(what, s string) *Error { return checkRunes(what, s, maxName, unicode.IsControl) }

// checkLines takes up to limit characters; line ends and tabs are allowed, other control characters are not.
func checkLines(what, s string, limit int) *Error {
	return checkRunes(what, s, limit, func(r rune) bool {
		return unicode.IsControl(r) && r != '\n' && r != '\r' && r != '\t'
	})
}

func checkRunes(what, s string, limit int, bad func(rune) bool) *Error {
	if len(s) > limit && utf8.RuneCountInString(s) > limit {
		return Errorf(Invalid, "%s is longer than %d characters", what, limit)
	}
	for i, r := range s {
		if r == utf8.RuneError {
			if _, size := utf8.DecodeRuneInString(s[i:]); size == 1 {
				return Errorf(Invalid, "%s is not valid UTF-8", what)
			}
		}
		if bad(r) {
			return Errorf(Invalid, "%s holds the control character %U", what, r)
		}
	}
	return nil
}

// checkMap bounds a map of texts.
func checkMap(what string, m map[string]string, items, valueLength int) *Error {
	if len(m) > items {
		return Errorf(Invalid, "%s has more than %d entries", what, items)
	}
	var worst *Error // of the first key in order, so that every replica says the same
	var at string
	for k, v := range m {
		if err := firstOf(checkName("A key of "+what, k), checkLines("A value of "+what, v, valueLength)); err != nil {
			if worst == nil || k < at {
				worst, at = err, k
			}
		}
	}
	return worst
}

// checkTexts bounds a list of texts.
func checkTexts[T ~string](what string, list []T, items, length int) *Error {
	if len(list) > items {
		return Errorf(Invalid, "%s has more than %d entries", what, items)
	}
	for _, s := range list {
		if err := checkRunes("An entry of "+what, string(s), length, unicode.IsControl); err != nil {
			return err
		}
	}
	return nil
}

// checkAmount bounds a number from below and above.
func checkAmount(what string, n, least, most int64) *Error {
	if n < least || n > most {
		return Errorf(Invalid, "%s must be between %d and %d, not %d", what, least, most, n)
	}
	return nil
}

// checkAddress takes an IP address in its canonical form: no zone, no IPv4 address in IPv6 clothes.
func checkAddress(what, s string) *Error {
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" || a.Is4In6() || a.String() != s {
		return Errorf(Invalid, "%s %.80q is not an IP address in canonical form", what, s)
	}
	return nil
}

func checkOptionalAddress(what, s string) *Error {
	if s == "" {
		return nil
	}
	return checkAddress(what, s)
}

// checkMAC takes a unicast MAC address in lower case with colons.
func checkMAC(s string) *Error {
	bad := Errorf(Invalid, "'%.80s' is not a valid MAC address", s)
	if len(s) != 17 {
		return bad
	}
	for i := range s {
		c := s[i]
		switch {
		case i%3 == 2:
			if c != ':' {
				return bad
			}
		case (c < '0' || c > '9') && (c < 'a' || c > 'f'):
			return bad
		}
	}
	switch s[1] {
	case '1', '3', '5', '7', '9', 'b', 'd', 'f':
		return bad // a group address
	}
	if s == "00:00:00:00:00:00" {
		return bad
	}
	return nil
}

// oneOf takes only what is on the list.
func oneOf[T ~string](what string, x T, allowed ...T) *Error {
	if slices.Contains(allowed, x) {
		return nil
	}
	return Errorf(Invalid, "%s %.80q is not known", what, string(x))
}

// revised judges the revision that a Put op was decided against.
func revised(what, id string, given, present uint64, exists bool) *Error {
	switch {
	case given == 0 && exists:
		return Errorf(Conflict, "%s %s exists already", what, id)
	case given != 0 && !exists:
		return missing(what, id)
	case given != present:
		return Errorf(Stale, "%s %s was changed in the meantime", what, id)
	}
	return nil
}

// missing is the refusal for what is not there, in the words that most OpenStack services use.
func missing(what, id string) *Error {
	return Errorf(NotFound, "%s %s could not be found.", what, id)
}
