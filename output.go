package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// printer writes results, for people or for programs.
type printer struct {
	to   io.Writer
	json bool
}

// column is one property of what is printed: a column of a list, a line of a single thing. Programs get it under its
// title in lower case, with underscores.
type column[T any] struct {
	title string
	of    func(T) any
}

func key(title string) string { return strings.ReplaceAll(strings.ToLower(title), " ", "_") }

// printList writes a table with a row for each item, or a JSON array of objects.
func printList[T any](p printer, columns []column[T], items []T) error {
	if p.json {
		objects := make([]json.RawMessage, 0, len(items))
		for _, item := range items {
			o, err := object(columns, item)
			if err != nil {
				return err
			}
			objects = append(objects, o)
		}
		return printJSON(p.to, objects)
	}
	titles := make([]string, len(columns))
	for i, c := range columns {
		titles[i] = strings.ToUpper(c.title)
	}
	return table(p.to, strings.Join(titles, "\t"), func(w io.Writer) {
		for _, item := range items {
			cells := make([]string, len(columns))
			for i, c := range columns {
				cells[i] = cell(c.of(item))
			}
			fmt.Fprintln(w, strings.Join(cells, "\t"))
		}
	})
}

// printOne writes a line for each property that has a value, or a JSON object.
func printOne[T any](p printer, columns []column[T], item T) error {
	if p.json {
		o, err := object(columns, item)
		if err != nil {
			return err
		}
		return printJSON(p.to, o)
	}
	w := tabwriter.NewWriter(p.to, 0, 4, 2, ' ', 0)
	for _, c := range columns {
		if text := cell(c.of(item)); text != "" {
			fmt.Fprintf(w, "%s\t%s\n", c.title, text)
		}
	}
	return w.Flush()
}

func printJSON(to io.Writer, v any) error {
	enc := json.NewEncoder(to)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// object keeps the order of the columns.
func object[T any](columns []column[T], item T) (json.RawMessage, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, c := range columns {
		if i > 0 {
			b.WriteByte(',')
		}
		v, err := json.Marshal(c.of(item))
		if err != nil {
			return nil, fmt.Errorf("print %s: %w", c.title, err)
		}
		fmt.Fprintf(&b, "%q:%s", key(c.title), v)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// cell is a value as people read it.
func cell(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return oneLine(v)
	case bool:
		if v {
			return "yes"
		}
		return "no"
	case time.Time:
		if v.IsZero() {
			return ""
		}
		return v.UTC().Format(time.RFC3339)
	case []string:
		return oneLine(strings.Join(v, ", "))
	case map[string]string:
		var parts []string
		for _, k := range slices.Sorted(maps.Keys(v)) {
			parts = append(parts, k+"="+v[k])
		}
		return oneLine(strings.Join(parts, ", "))
	}
	return oneLine(fmt.Sprint(v))
}

// oneLine keeps what a user wrote from breaking the table, or from talking to the terminal.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return ' '
		}
		return r
	}, s)
}

// bytesSize is a number of bytes; people see it in binary units.
type bytesSize int64

// String gives three digits and a unit.
func (n bytesSize) String() string {
	const step = 1024
	if n < step {
		return fmt.Sprintf("%d B", int64(n))
	}
	v, unit := float64(n), 0
	for v >= step && unit < len(" KMGTPE")-1 {
		v, unit = v/step, unit+1
	}
	return fmt.Sprintf("%.1f %ciB", v, " KMGTPE"[unit])
}
