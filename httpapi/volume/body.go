package volume

import (
	"math"
	"strconv"
	"strings"

	"github.com/kilonova/kilonova/httpapi/schema"
)

// The bounds of what clients may set: those of Cinder's schemas.
const (
	maxText     = 255
	maxSize     = math.MaxInt32
	maxMetadata = 255 // characters of a value
)

// flexInt is an integer as clients send it: a number or digits.
type flexInt int64

// UnmarshalJSON implements json.Unmarshaler. A schema has judged the value before.
func (n *flexInt) UnmarshalJSON(b []byte) error {
	i, err := strconv.ParseInt(strings.Trim(string(b), `"`), 10, 64)
	if err != nil {
		return bad("Malformed request body")
	}
	*n = flexInt(i)
	return nil
}

// flexBool is a boolean as clients send it.
type flexBool bool

// UnmarshalJSON implements json.Unmarshaler. A schema has judged the value before.
func (f *flexBool) UnmarshalJSON(b []byte) error {
	value, _ := schema.Truth(strings.Trim(string(b), `"`))
	*f = flexBool(value)
	return nil
}

var (
	schemaText     = schema.Text(0, maxText).OrNull()
	schemaID       = schema.Text(0, maxText).OrNull()
	schemaSize     = schema.Int(1, maxSize)
	schemaMetadata = schema.Map(`^[\s\S]{1,255}$`, schema.Text(0, maxMetadata)).OrNull()
)

// named takes over a name and a description in either spelling: Cinder's own, and that of its first version.
type named struct {
	Name        *string `json:"name"`
	Description *string `json:"description"`
	OldName     *string `json:"display_name"`
	OldAbout    *string `json:"display_description"`
}

func (n *named) name() *string  { return stripped(first(n.Name, n.OldName)) }
func (n *named) about() *string { return first(n.Description, n.OldAbout) }

func first(a, b *string) *string {
	if a != nil {
		return a
	}
	return b
}

// stripped is a name without the blanks around it.
func stripped(s *string) *string {
	if s == nil {
		return nil
	}
	t := strings.TrimSpace(*s)
	return &t
}

func orEmpty(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// namedSchema is what describes a thing.
func namedSchema(more map[string]*schema.Schema) map[string]*schema.Schema {
	all := map[string]*schema.Schema{"name": schemaText, "description": schemaText, "display_name": schemaText, "display_description": schemaText}
	for k, s := range more {
		all[k] = s
	}
	return all
}

// orObject is {} for a map that is nil.
func orObject(m map[string]string) map[string]string {
	if m == nil {
		return map[string]string{}
	}
	return m
}
