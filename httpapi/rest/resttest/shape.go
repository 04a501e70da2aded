package resttest

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Shape is what JSON values of one kind have in common: the types that they may have, the fields of objects and what
// arrays hold. Its text has a line for each place:
//
//	object .
//	string /project/id
//	null|string /project/description
//	array /project/tags
//	string /project/tags/*
//	string? /project/colour
//
// "/" and "~" in a field's name are written ~1 and ~0, as in JSON pointers (RFC 6901); "*" is any element. A question mark
// says that some values lack the field.
type Shape struct {
	types    map[string]bool
	fields   map[string]*Shape
	elements *Shape // nil: no element was seen
	optional bool
}

// root stands for the whole value where a place is named.
const root = "."

// ShapeOf gives the shape of a value as encoding/json decodes it into an any.
func ShapeOf(v any) *Shape {
	s := &Shape{types: map[string]bool{typeOf(v): true}, fields: map[string]*Shape{}}
	switch v := v.(type) {
	case map[string]any:
		for k, x := range v {
			s.fields[k] = ShapeOf(x)
		}
	case []any:
		for _, x := range v {
			s.elements = merge(s.elements, ShapeOf(x))
		}
	}
	return s
}

func typeOf(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case bool:
		return "bool"
	case string:
		return "string"
	case map[string]any:
		return "object"
	case []any:
		return "array"
	default:
		return "number"
	}
}

// merge gives the shape of values of either shape. A field that only one of them has becomes optional.
func merge(a, b *Shape) *Shape {
	if a == nil {
		return b
	}
	if b == nil {
		return a
	}
	m := &Shape{types: maps.Clone(a.types), fields: map[string]*Shape{}, elements: merge(a.elements, b.elements), optional: a.optional || b.optional}
	maps.Copy(m.types, b.types)
	both := a.types["object"] && b.types["object"]
	for k, f := range a.fields {
		m.fields[k] = f
		if other, ok := b.fields[k]; ok {
			m.fields[k] = merge(f, other)
		} else if both {
			f.optional = true
		}
	}
	for k, f := range b.fields {
		if _, ok := a.fields[k]; !ok {
			m.fields[k] = f
			f.optional = f.optional || both
		}
	}
	return m
}

// String gives the shape's text.
func (s *Shape) String() string {
	var b strings.Builder
	s.write(&b, "")
	return b.String()
}

var escape = strings.NewReplacer("~", "~0", "/", "~1", "*", "~2", "\n", "~3")
var unescape = strings.NewReplacer("~1", "/", "~2", "*", "~3", "\n", "~0", "~")

func (s *Shape) write(b *strings.Builder, path string) {
	mark := ""
	if s.optional {
		mark = "?"
	}
	fmt.Fprintf(b, "%s%s %s\n", strings.Join(slices.Sorted(maps.Keys(s.types)), "|"), mark, cmp.Or(path, root))
	for _, k := range slices.Sorted(maps.Keys(s.fields)) {
		s.fields[k].write(b, path+"/"+escape.Replace(k))
	}
	if s.elements != nil {
		s.elements.write(b, path+"/*")
	}
}

// ParseShape reads a shape's text.
func ParseShape(text string) (*Shape, error) {
	whole := &Shape{types: map[string]bool{}, fields: map[string]*Shape{}}
	for line := range strings.Lines(text) {
		types, path, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		if !ok || path != root && !strings.HasPrefix(path, "/") {
			return nil, fmt.Errorf("parse shape: bad line %q", line)
		}
		at := whole
		if path != root {
			for _, step := range strings.Split(path[1:], "/") {
				at = at.step(step)
			}
		}
		types, at.optional = strings.CutSuffix(types, "?")
		for _, t := range strings.Split(types, "|") {
			at.types[t] = true
		}
	}
	return whole, nil
}

// step goes to a field or to the elements, and makes them when they are not there.
func (s *Shape) step(name string) *Shape {
	next := &Shape{types: map[string]bool{}, fields: map[string]*Shape{}}
	if name == "*" {
		if s.elements == nil {
			s.elements = next
		}
		return s.elements
	}
	name = unescape.Replace(name)
	if s.fields[name] == nil {
		s.fields[name] = next
	}
	return s.fields[name]
}

// Diff says how got differs from want, a line for each difference. Null stands for a value that just was not set, so it
// goes with every type; an array without elements goes with every array.
func Diff(want, got *Shape) []string { return diff(want, got, "") }

func diff(want, got *Shape, path string) []string {
	var found []string
	for _, t := range slices.Sorted(maps.Keys(got.types)) {
		onlyNull := len(want.types) == 1 && want.types["null"]
		if t != "null" && !want.types[t] && !onlyNull {
			found = append(found, fmt.Sprintf("%s is %s instead of %s", cmp.Or(path, root), t, strings.Join(slices.Sorted(maps.Keys(want.types)), "|")))
		}
	}
	if want.types["object"] && got.types["object"] {
		for _, k := range slices.Sorted(maps.Keys(want.fields)) {
			f, ok := got.fields[k]
			switch {
			case ok:
				found = append(found, diff(want.fields[k], f, path+"/"+escape.Replace(k))...)
			case !want.fields[k].optional:
				found = append(found, path+"/"+escape.Replace(k)+" is missing")
			}
		}
		for _, k := range slices.Sorted(maps.Keys(got.fields)) {
			if _, ok := want.fields[k]; !ok {
				found = append(found, path+"/"+escape.Replace(k)+" should not be there")
			}
		}
	}
	if want.elements != nil && got.elements != nil {
		found = append(found, diff(want.elements, got.elements, path+"/*")...)
	}
	return found
}
