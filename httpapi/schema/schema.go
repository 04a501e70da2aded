package schema

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Schema says what a value may be. The zero Schema allows everything. Members that concern another type than the
// value has are not looked at, as in JSON Schema.
type Schema struct {
	Types []string // of object, array, string, integer, number, boolean, null; none: any

	Object *Members // what an object may hold
	Array  *List    // what an array may hold

	MinLength, MaxLength int // of a string, in code points; a MaxLength of 0 is no limit
	Pattern              *regexp.Regexp
	Format               *Format
	Min, Max             *int64 // of a number
	Enum                 []any
	AnyOf                []*Schema
}

// Members is what an object may hold.
type Members struct {
	Known    map[string]*Schema
	Required []string // in the order in which they are missed

	// Names and Other rule the members that are not Known: Names must match their names, when it is set, and
	// Other their values. With neither, unknown members are refused, unless Open.
	Names *regexp.Regexp
	Other *Schema
	Open  bool

	Min int // fewest members
}

// List is what an array may hold.
type List struct {
	Items    *Schema
	Min, Max int // a Max of 0 is no limit
	Unique   bool
}

// Format is a check of strings that has a name.
type Format struct {
	Name string
	OK   func(string) bool

	// Refusal replaces the usual words when it is set.
	Refusal string
}

// Error says what is wrong with a value.
type Error struct {
	field   string // the innermost member or index; "" for the whole document
	value   any
	message string // in JSON Schema's words
	whole   string // replaces everything when it is set
}

// Body gives the error in the words for a request body.
func (e *Error) Body() string { return e.text("field/attribute") }

// Query gives the error in the words for query parameters.
func (e *Error) Query() string { return e.text("query parameters") }

// Error gives the words for a request body.
func (e *Error) Error() string { return e.Body() }

func (e *Error) text(kind string) string {
	switch {
	case e.whole != "":
		return e.whole
	case e.field == "":
		return e.message
	}
	v := show(e.value)
	if secret(e.field) {
		v = "***"
	}
	return fmt.Sprintf("Invalid input for %s %s. Value: %s. %s", kind, e.field, v, e.message)
}

// Check finds the first thing that is wrong with v; nil when nothing is.
func (s *Schema) Check(v any) *Error { return s.check("", v) }

func (s *Schema) check(field string, v any) *Error {
	wrong := func(format string, args ...any) *Error {
		return &Error{field: field, value: v, message: fmt.Sprintf(format, args...)}
	}
	shown := func() string {
		if secret(field) {
			return "'***'"
		}
		return repr(v)
	}
	if len(s.Types) > 0 && !slices.ContainsFunc(s.Types, func(t string) bool { return isType(t, v) }) {
		return wrong("%s is not of type '%s'", shown(), strings.Join(s.Types, "', '"))
	}
	if s.Enum != nil && !slices.ContainsFunc(s.Enum, func(e any) bool { return equal(e, v) }) {
		return wrong("%s is not one of %s", shown(), repr(s.Enum))
	}
	if len(s.AnyOf) > 0 && !slices.ContainsFunc(s.AnyOf, func(a *Schema) bool { return a.check(field, v) == nil }) {
		return wrong("%s is not valid under any of the given schemas", shown())
	}
	switch v := v.(type) {
	case string:
		return s.checkString(v, shown, wrong)
	case json.Number:
		return s.checkNumber(v, wrong)
	case []any:
		return s.checkArray(v, wrong)
	case *Object:
		return s.checkObject(v, wrong)
	}
	return nil
}

type refuse = func(format string, args ...any) *Error

func (s *Schema) checkString(v string, shown func() string, wrong refuse) *Error {
	n := utf8.RuneCountInString(v)
	switch {
	case n < s.MinLength:
		return wrong("%s is too short", shown())
	case s.MaxLength > 0 && n > s.MaxLength:
		return wrong("%s is too long", shown())
	case s.Pattern != nil && !s.Pattern.MatchString(v):
		return wrong("%s does not match '%s'", shown(), s.Pattern)
	case s.Min != nil || s.Max != nil:
		if v == "" {
			return nil // as Nova's own pattern allows
		}
		return s.checkNumber(json.Number(v), wrong)
	case s.Format == nil || s.Format.OK(v):
		return nil
	case s.Format.Refusal != "":
		e := wrong("")
		e.whole = s.Format.Refusal
		return e
	}
	return wrong("%s is not a '%s'", shown(), s.Format.Name)
}

func (s *Schema) checkNumber(v json.Number, wrong refuse) *Error {
	f, err := v.Float64()
	switch {
	case err != nil:
		return wrong("%s is out of range", cut(v.String()))
	case s.Min != nil && f < float64(*s.Min):
		return wrong("%s is less than the minimum of %d", v, *s.Min)
	case s.Max != nil && f > float64(*s.Max):
		return wrong("%s is greater than the maximum of %d", v, *s.Max)
	}
	return nil
}

func (s *Schema) checkArray(v []any, wrong refuse) *Error {
	a := s.Array
	if a == nil {
		return nil
	}
	switch {
	case len(v) < a.Min:
		return wrong("%s is too short", repr(v))
	case a.Max > 0 && len(v) > a.Max:
		return wrong("%s is too long", repr(v))
	case a.Unique && !unique(v):
		return wrong("%s has non-unique elements", repr(v))
	case a.Items == nil:
		return nil
	}
	for i, e := range v {
		if err := a.Items.check(strconv.Itoa(i), e); err != nil {
			return err
		}
	}
	return nil
}

func (s *Schema) checkObject(v *Object, wrong refuse) *Error {
	m := s.Object
	if m == nil {
		return nil
	}
	for _, name := range m.Required {
		if _, ok := v.Values[name]; !ok {
			return wrong("%s is a required property", repr(name))
		}
	}
	if len(v.Names) < m.Min {
		return wrong("%s does not have enough properties", repr(v))
	}
	var unexpected []string
	for _, name := range v.Names {
		child, known := m.Known[name]
		switch {
		case known:
		case m.Names != nil && !m.Names.MatchString(name):
			return wrong("%s does not match any of the regexes: '%s'", repr(name), m.Names)
		case m.Other != nil:
			child = m.Other
		case m.Names == nil && !m.Open:
			unexpected = append(unexpected, repr(name))
		}
		if child == nil {
			continue
		}
		if err := child.check(name, v.Values[name]); err != nil {
			return err
		}
	}
	switch {
	case len(unexpected) == 1:
		return wrong("Additional properties are not allowed (%s was unexpected)", unexpected[0])
	case len(unexpected) > 1:
		return wrong("Additional properties are not allowed (%s were unexpected)", cut(strings.Join(unexpected, ", ")))
	}
	return nil
}

func isType(name string, v any) bool {
	switch v := v.(type) {
	case nil:
		return name == "null"
	case bool:
		return name == "boolean"
	case string:
		return name == "string"
	case []any:
		return name == "array"
	case *Object:
		return name == "object"
	case json.Number:
		if name != "integer" {
			return name == "number"
		}
		_, err := strconv.ParseInt(v.String(), 10, 64)
		return err == nil
	}
	return false
}

// equal compares scalars; arrays and objects are never equal to an element of an Enum.
func equal(a, b any) bool {
	switch a.(type) {
	case nil, bool, string, json.Number:
		return a == b
	}
	return false
}

// unique tells whether no two elements are alike.
func unique(list []any) bool {
	seen := make(map[string]bool, len(list))
	for _, v := range list {
		k, err := json.Marshal(plain(v))
		if err != nil || seen[string(k)] {
			return false
		}
		seen[string(k)] = true
	}
	return true
}

func plain(v any) any {
	switch v := v.(type) {
	case *Object:
		m := make(map[string]any, len(v.Values))
		for k, e := range v.Values {
			m[k] = plain(e)
		}
		return m
	case []any:
		list := make([]any, len(v))
		for i, e := range v {
			list[i] = plain(e)
		}
		return list
	}
	return v
}
