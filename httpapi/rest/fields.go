package rest

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"sync"

	"github.com/kilonova/kilonova/cluster"
)

// checkFields refuses an object that holds a field twice or one that its type does not have. encoding/json alone takes
// the last of two and matches names whatever their case. The body must be valid JSON that nests no deeper than MaxDepth.
func checkFields(body []byte, t reflect.Type) error {
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	return checkValue(dec, t, "body")
}

// checkValue reads one value, which belongs to type t; a nil t knows nothing about it. name is for messages.
func checkValue(dec *json.Decoder, t reflect.Type, name string) error {
	token, err := dec.Token()
	if err != nil {
		return errMalformed
	}
	switch token {
	case json.Delim('{'):
		err = checkObject(dec, t, name)
	case json.Delim('['):
		err = checkArray(dec, element(t), name)
	default:
		return nil
	}
	if err != nil {
		return err
	}
	_, err = dec.Token() // the closing bracket
	return err
}

func checkArray(dec *json.Decoder, element reflect.Type, name string) error {
	for dec.More() {
		if err := checkValue(dec, element, name); err != nil {
			return err
		}
	}
	return nil
}

func checkObject(dec *json.Decoder, t reflect.Type, name string) error {
	known, closed := fieldsOf(t)
	seen := map[string]bool{}
	var unknown []string
	for dec.More() {
		token, err := dec.Token()
		if err != nil {
			return errMalformed
		}
		key, _ := token.(string)
		if seen[key] {
			return cluster.Errorf(cluster.Invalid, "Invalid input for field/attribute %s. '%s' is there twice", name, key)
		}
		seen[key] = true
		field, ok := known[key]
		if !ok && closed {
			unknown = append(unknown, "'"+key+"'")
		}
		if !ok && !closed {
			field = element(t)
		}
		if err := checkValue(dec, field, key); err != nil {
			return err
		}
	}
	switch len(unknown) {
	case 0:
		return nil
	case 1:
		return cluster.Errorf(cluster.Invalid, "Invalid input for field/attribute %s. Additional properties are not allowed (%s was unexpected)",
			name, unknown[0])
	default:
		return cluster.Errorf(cluster.Invalid, "Invalid input for field/attribute %s. Additional properties are not allowed (%s were unexpected)",
			name, strings.Join(unknown, ", "))
	}
}

// element is the type of what a slice, array or map holds; nil when that is not known.
func element(t reflect.Type) reflect.Type {
	t = bare(t)
	if t == nil {
		return nil
	}
	switch t.Kind() {
	case reflect.Slice, reflect.Array, reflect.Map:
		return t.Elem()
	default:
		return nil
	}
}

var unmarshaler = reflect.TypeFor[json.Unmarshaler]()

// bare follows pointers; it gives nil for types that decode themselves or hold anything.
func bare(t reflect.Type) reflect.Type {
	for t != nil {
		if t.Implements(unmarshaler) || reflect.PointerTo(t).Implements(unmarshaler) || t.Kind() == reflect.Interface {
			return nil
		}
		if t.Kind() != reflect.Pointer {
			return t
		}
		t = t.Elem()
	}
	return nil
}

var fieldCache sync.Map // reflect.Type -> map[string]reflect.Type

// fieldsOf gives the JSON fields of a struct type; closed is false for any other type, which may have any field.
func fieldsOf(t reflect.Type) (fields map[string]reflect.Type, closed bool) {
	t = bare(t)
	if t == nil || t.Kind() != reflect.Struct {
		return nil, false
	}
	if f, ok := fieldCache.Load(t); ok {
		return f.(map[string]reflect.Type), true
	}
	fields = map[string]reflect.Type{}
	for _, f := range reflect.VisibleFields(t) {
		tag, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case !f.IsExported() || tag == "-" || f.Anonymous && tag == "":
		case tag == "":
			fields[f.Name] = f.Type
		default:
			fields[tag] = f.Type
		}
	}
	fieldCache.Store(t, fields)
	return fields, true
}
