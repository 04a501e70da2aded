package schema

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Object is a JSON object that keeps the order of its members. Other JSON values are string, json.Number, bool, nil
// and []any.
type Object struct {
	Names  []string
	Values map[string]any
}

// Get returns a member.
func (o *Object) Get(name string) (any, bool) {
	v, ok := o.Values[name]
	return v, ok
}

// Parse decodes one JSON value. Of members that come twice the last counts, as in Python.
func Parse(body []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	v, err := parse(d)
	if err != nil {
		return nil, fmt.Errorf("parse JSON: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("parse JSON: more than one value")
	}
	return v, nil
}

func parse(d *json.Decoder) (any, error) {
	t, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch t {
	case json.Delim('{'):
		return parseObject(d)
	case json.Delim('['):
		list := []any{}
		for d.More() {
			v, err := parse(d)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		_, err = d.Token()
		return list, err
	}
	return t, nil
}

func parseObject(d *json.Decoder) (any, error) {
	o := &Object{Values: map[string]any{}}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, err
		}
		name, ok := t.(string)
		if !ok {
			return nil, fmt.Errorf("member name is %v", t)
		}
		v, err := parse(d)
		if err != nil {
			return nil, err
		}
		if _, twice := o.Values[name]; !twice {
			o.Names = append(o.Names, name)
		}
		o.Values[name] = v
	}
	_, err := d.Token()
	return o, err
}

// maxShown is how much of a value is repeated in an error, in bytes.
const maxShown = 1024

// secret names members whose value is not repeated in an error.
func secret(name string) bool {
	return name == "adminPass" || name == "admin_pass" || name == "user_data" || name == "private_key"
}

// show prints a value as Python's str does, cut to a bounded length.
func show(v any) string {
	if s, ok := v.(string); ok {
		return cut(s)
	}
	return repr(v)
}

// repr prints a value as Python's repr does, cut to a bounded length.
func repr(v any) string {
	var b strings.Builder
	writeRepr(&b, v)
	return cut(b.String())
}

func cut(s string) string {
	if len(s) <= maxShown {
		return s
	}
	n := maxShown
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "..."
}

// writeRepr prints v until the text is long enough to be cut.
func writeRepr(b *strings.Builder, v any) {
	if b.Len() > maxShown {
		return
	}
	switch v := v.(type) {
	case nil:
		b.WriteString("None")
	case bool:
		if v {
			b.WriteString("True")
		} else {
			b.WriteString("False")
		}
	case string:
		writeString(b, v)
	case []any:
		b.WriteByte('[')
		for i, e := range v {
			if i > 0 {
				b.WriteString(", ")
			}
			writeRepr(b, e)
		}
		b.WriteByte(']')
	case *Object:
		b.WriteByte('{')
		for i, name := range v.Names {
			if i > 0 {
				b.WriteString(", ")
			}
			writeString(b, name)
			b.WriteString(": ")
			if e := v.Values[name]; secret(name) {
				b.WriteString("'***'")
			} else {
				writeRepr(b, e)
			}
		}
		b.WriteByte('}')
	default:
		fmt.Fprint(b, v) // json.Number
	}
}

// writeString quotes as Python does: single quotes unless only they occur in s.
func writeString(b *strings.Builder, s string) {
	q := '\''
	if strings.ContainsRune(s, '\'') && !strings.ContainsRune(s, '"') {
		q = '"'
	}
	b.WriteRune(q)
	for _, r := range s {
		switch {
		case r == q || r == '\\':
			b.WriteRune('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case r < ' ' || r == 0x7f:
			fmt.Fprintf(b, `\x%02x`, r)
		case !unicode.IsPrint(r):
			b.WriteString(strings.Trim(strconv.QuoteRuneToASCII(r), "'"))
		default:
			b.WriteRune(r)
		}
	}
	b.WriteRune(q)
}
