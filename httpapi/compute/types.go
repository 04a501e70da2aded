package compute

import (
	"bytes"
	"encoding/json"
	"math"
	"regexp"
	"strconv"
	"strings"
	"unicode"

	"github.com/kilonova/kilonova/httpapi/rest"
	"github.com/kilonova/kilonova/httpapi/schema"
)

// Nova takes many values in more than one JSON type. These read what the schemas allow.
type (
	flexInt  int64
	flexBool bool
	flexText string
	flexAny  string // a scalar as it was written, without quotes
)

// UnmarshalJSON reads a number, or a string of digits.
func (n *flexInt) UnmarshalJSON(b []byte) error {
	s := strings.Trim(string(b), `"`)
	if s == "null" || s == "" {
		return nil
	}
	v, err := strconv.ParseInt(s, 10, 64)
	*n = flexInt(v)
	return err
}

// UnmarshalJSON reads a boolean, or a string that stands for one.
func (t *flexBool) UnmarshalJSON(b []byte) error {
	v, _ := schema.Truth(strings.Trim(string(b), `"`))
	*t = flexBool(v)
	return nil
}

// UnmarshalJSON reads a string, or a number as it is written.
func (s *flexText) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] != '"' {
		if !bytes.Equal(b, []byte("null")) {
			*s = flexText(b)
		}
		return nil
	}
	return json.Unmarshal(b, (*string)(s))
}

// UnmarshalJSON keeps the scalar as it was written.
func (a *flexAny) UnmarshalJSON(b []byte) error {
	*a = flexAny(strings.Trim(string(b), `"`))
	return nil
}

// number reads what a schema of integers allowed.
func (a flexAny) number() int64 {
	n, _ := strconv.ParseInt(string(a), 10, 64)
	return n
}

// truth reads what a schema of booleans allowed.
func (a flexAny) truth() bool {
	t, _ := schema.Truth(string(a))
	return t
}

// The formats that Nova's schemas name.
var (
	formatUUID   = &schema.Format{Name: "uuid", OK: rest.IsUUID}
	formatImage  = &schema.Format{Name: "image_id_or_empty_string", OK: func(s string) bool { return s == "" || rest.IsUUID(s) }}
	formatBase64 = &schema.Format{Name: "base64", OK: func(s string) bool { _, err := decodeBase64(s); return err == nil }}
	formatIPv4   = &schema.Format{Name: "ipv4", OK: func(s string) bool { return s == "" || isIP(s, false) }}
	formatIPv6   = &schema.Format{Name: "ipv6", OK: func(s string) bool { return s == "" || isIP(s, true) }}
	formatIP     = &schema.Format{Name: "ip-address", OK: func(s string) bool { return isIP(s, false) || isIP(s, true) }}
	formatName   = &schema.Format{Name: "name", OK: isName, Refusal: "An invalid 'name' value was provided. The name must be: " +
		"printable characters. Can not start or end with whitespace."}
	formatPrintable = &schema.Format{Name: "printable", OK: isPrintable}
)

// isName tells whether s may be the name of a server or a flavor.
func isName(s string) bool { return isPrintable(s) && strings.TrimSpace(s) == s }

// isPrintable tells whether s holds no control characters and the like.
func isPrintable(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) && !unicode.IsSpace(r) || r < ' ' || r == 0x85 }) < 0
}

// The schemas that several bodies use.
var (
	schemaName        = schema.Text(1, 255).Formatted(formatName)
	schemaDescription = schema.Text(0, 255).OrNull().Formatted(formatPrintable)
	schemaMetadata    = schema.Map(`^[a-zA-Z0-9-_:. ]{1,255}$`, schema.Text(0, 255))
	schemaCount       = schema.Int(1, math.MaxInt32)
	schemaUUID        = schema.Text(0, 0).Formatted(formatUUID)
	schemaDiskConfig  = &schema.Schema{Types: []string{"string"}, Enum: []any{"AUTO", "MANUAL"}}
)

// maxPattern is how long a regular expression of a filter may be. RE2 needs time in proportion to it.
const maxPattern = 255

// compile reads a filter's regular expression.
func compile(pattern string) (*regexp.Regexp, error) {
	if len(pattern) > maxPattern {
		return nil, bad("pattern is longer than %d bytes", maxPattern)
	}
	return regexp.Compile(pattern)
}
