package rest

import (
	"unicode"
	"unicode/utf8"

	"github.com/kilonova/kilonova/cluster"
)

// CheckText refuses (Invalid) a text that is shorter or longer, in characters, than it may be, or that holds control
// characters. NUL above all: it separates the parts of keys in the state. Markup and paths are just text.
func CheckText(field, s string, shortest, longest int) error {
	n := utf8.RuneCountInString(s)
	switch {
	case !utf8.ValidString(s):
		return cluster.Errorf(cluster.Invalid, "Invalid input for field/attribute %s. It is not UTF-8", field)
	case n < shortest:
		return cluster.Errorf(cluster.Invalid, "Invalid input for field/attribute %s. Value: %s. '%s' is too short", field, s, s)
	case n > longest:
		return cluster.Errorf(cluster.Invalid, "Invalid input for field/attribute %s. It has %d characters; %d is the most: it is too long", field, n, longest)
	}
	for _, c := range s {
		if unicode.IsControl(c) && c != '\n' && c != '\t' && c != '\r' {
			return cluster.Errorf(cluster.Invalid, "Invalid input for field/attribute %s. It holds the control character %U", field, c)
		}
	}
	return nil
}
