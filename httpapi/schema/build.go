package schema

import "regexp"

// Record is an object with these members, of which the required ones must be there, and no others.
func Record(known map[string]*Schema, required ...string) *Schema {
	return &Schema{Types: []string{"object"}, Object: &Members{Known: known, Required: required}}
}

// Wrap is an object whose only member is the one named, as nearly every body of the compute API is.
func Wrap(name string, inner *Schema) *Schema {
	return Record(map[string]*Schema{name: inner}, name)
}

// Loose is an object with these members that may have others too.
func Loose(known map[string]*Schema, required ...string) *Schema {
	return &Schema{Types: []string{"object"}, Object: &Members{Known: known, Required: required, Open: true}}
}

// Map is an object whose names match a pattern and whose values are all alike.
func Map(names string, values *Schema) *Schema {
	return &Schema{Types: []string{"object"}, Object: &Members{Names: regexp.MustCompile(names), Other: values}}
}

// ArrayOf is an array of these items, at most limit of them.
func ArrayOf(items *Schema, limit int) *Schema {
	return &Schema{Types: []string{"array"}, Array: &List{Items: items, Max: limit}}
}

// Text is a string of at least min and at most max code points.
func Text(min, max int) *Schema {
	return &Schema{Types: []string{"string"}, MinLength: min, MaxLength: max}
}

// Int is an integer in a range, as a number or as a string of digits.
func Int(min, max int64) *Schema {
	pattern := `^[0-9]*$`
	if min < 0 {
		pattern = `^-?[0-9]*$`
	}
	return &Schema{Types: []string{"integer", "string"}, Min: &min, Max: &max, MinLength: 1, MaxLength: 20,
		Pattern: regexp.MustCompile(pattern)}
}

// OrNull also allows null.
func (s Schema) OrNull() *Schema {
	s.Types = append(append([]string(nil), s.Types...), "null")
	if s.Enum != nil {
		s.Enum = append(append([]any(nil), s.Enum...), nil)
	}
	return &s
}

// Formatted also asks for a format.
func (s Schema) Formatted(f *Format) *Schema {
	s.Format = f
	return &s
}

// OneOf is one of these values.
func OneOf(values ...any) *Schema { return &Schema{Enum: values} }

// truths are what Nova takes for a boolean.
var truths = []string{"True", "TRUE", "true", "1", "ON", "On", "on", "YES", "Yes", "yes", "y", "t"}

var untruths = []string{"False", "FALSE", "false", "0", "OFF", "Off", "off", "NO", "No", "no", "n", "f"}

// Boolean is a boolean, or a string that Nova takes for one.
func Boolean() *Schema {
	all := []any{true}
	for _, s := range truths {
		all = append(all, s)
	}
	all = append(all, false)
	for _, s := range untruths {
		all = append(all, s)
	}
	return &Schema{Types: []string{"boolean", "string"}, Enum: all}
}

// Truth reads a string that Boolean allows; ok is false for any other.
func Truth(s string) (value, ok bool) {
	for _, t := range truths {
		if s == t {
			return true, true
		}
	}
	for _, t := range untruths {
		if s == t {
			return false, true
		}
	}
	return false, false
}
