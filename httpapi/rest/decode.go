package rest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"reflect"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/kilonova/kilonova/cluster"
)

const (
	// MaxBody is how many bytes a JSON body may have, unless WithBodyLimit says otherwise: Nova's
	// max_request_body_size.
	MaxBody = 114688

	// bodyTime is how long a client may take to send such a body.
	bodyTime = 30 * time.Second

	// heardOut is how much more than it may send is taken from a client, as net/http does: 256 KiB.
	heardOut = 256 << 10

	// MaxDepth is how deep arrays and objects of a body may nest.
	MaxDepth = 64
)

// errMalformed is a body that is not one JSON value. Each service has its own words for it, so shapes look for it.
var errMalformed = cluster.Errorf(cluster.Invalid, "Malformed request body")

func isMalformed(err error) bool { return errors.Is(err, errMalformed) }

type bodyLimitKey struct{}

// WithBodyLimit lets Decode read bodies of up to n bytes instead of MaxBody.
func WithBodyLimit(n int64) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), bodyLimitKey{}, n)))
		})
	}
}

// Decode reads a JSON body. It is refused (Invalid) when it is not one JSON value in UTF-8, nests deeper than MaxDepth, is
// null, or holds a value of the wrong type; TooLarge when it is longer than the limit; 415 when its Content-Type is
// something else. Fields that T does not have are ignored.
func Decode[T any](r *http.Request) (T, error) {
	var v T
	body, err := readBody(r)
	if err != nil {
		return v, err
	}
	return v, unmarshal(body, &v)
}

// DecodeStrict is Decode for APIs that refuse what they do not know: a field that T does not have, in exactly that
// spelling, and a field that is there twice, are Invalid.
func DecodeStrict[T any](r *http.Request) (T, error) {
	var v T
	body, err := readBody(r)
	if err != nil {
		return v, err
	}
	if err := checkFields(body, reflect.TypeFor[T]()); err != nil {
		return v, err
	}
	return v, unmarshal(body, &v)
}

// readBody reads and checks everything about the body that does not depend on its type.
func readBody(r *http.Request) ([]byte, error) {
	if err := checkMediaType(r.Header.Get("Content-Type")); err != nil {
		return nil, err
	}
	limit := int64(MaxBody)
	if n, ok := r.Context().Value(bodyLimitKey{}).(int64); ok {
		limit = n
	}
	tooLarge := cluster.Errorf(cluster.TooLarge, "Request is too large. Larger than max_request_body_size (%d).", limit)
	x := exchangeOf(r)
	x.deadline(time.Now().Add(bodyTime))
	if r.ContentLength > limit {
		x.hearOut(r)
		return nil, tooLarge
	}
	body, err := x.readAll(r.Context(), io.LimitReader(r.Body, limit+1))
	if err == nil && int64(len(body)) <= limit {
		x.deadline(time.Time{}) // else it holds for the rest of the body, too, which is read before the reply goes out
	}
	switch {
	case x.shed:
		return nil, err
	case err != nil:
		return nil, cluster.Errorf(cluster.Invalid, "The request body could not be read.")
	case int64(len(body)) > limit:
		x.hearOut(r)
		return nil, tooLarge
	}
	x.digest = sha256.Sum256(body)
	switch trimmed := bytes.TrimSpace(body); {
	case len(trimmed) == 0, string(trimmed) == "null":
		return nil, cluster.Errorf(cluster.Invalid, "None is not of type 'object'")
	case !utf8.Valid(body):
		return nil, errMalformed
	case depth(body) > MaxDepth:
		return nil, cluster.Errorf(cluster.Invalid, "Request body nests deeper than %d levels.", MaxDepth)
	case !json.Valid(body):
		return nil, errMalformed
	}
	return body, nil
}

// hearOut reads on what is too much, up to a bound, when the client says that it will close its connection. The server hears out
// others by itself; to such a one it would close at once, and break a connection that is written to: the client would never
// see the answer. One that waits for leave to send needs none.
func (x *exchange) hearOut(r *http.Request) {
	if r.Close && r.Header.Get("Expect") == "" {
		_, _ = x.readAll(r.Context(), io.LimitReader(r.Body, heardOut)) // if it fails, nobody is left to be answered
	}
}

// checkMediaType lets JSON through, and, as Nova does, what says nothing or text/plain.
func checkMediaType(contentType string) error {
	if contentType == "" {
		return nil
	}
	media, _, err := mime.ParseMediaType(contentType)
	switch {
	case err == nil && (media == "application/json" || media == "text/plain"):
		return nil
	case err == nil && strings.HasPrefix(media, "application/") && strings.HasSuffix(media, "+json"):
		return nil
	case err == nil && strings.HasPrefix(media, "application/openstack-") && strings.HasSuffix(media, "json-patch"):
		return nil
	}
	return &HTTPError{Status: http.StatusUnsupportedMediaType, Code: cluster.Invalid, Message: "Unsupported Content-Type"}
}

// depth is how deep brackets nest in what may or may not be JSON. It neither recurses nor allocates.
func depth(body []byte) int {
	deepest, now, inString := 0, 0, false
	for i := 0; i < len(body); i++ {
		switch c := body[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '{' || c == '[':
			now++
			deepest = max(deepest, now)
		case c == '}' || c == ']':
			now--
		}
	}
	return deepest
}

// unmarshal parses a body that is valid JSON.
func unmarshal(body []byte, v any) error {
	err := json.Unmarshal(body, v)
	var refused *cluster.Error
	var wrong *json.UnmarshalTypeError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &refused):
		return refused // from a type of a service that decodes itself
	case errors.As(err, &wrong):
		return wrongType(body, wrong)
	default:
		return errMalformed
	}
}

// wrongType says it in Nova's words.
func wrongType(body []byte, e *json.UnmarshalTypeError) error {
	shown, quoted := e.Value, e.Value
	if lit := literalBefore(body, int(e.Offset)); lit != "" {
		shown, quoted = lit, lit
		var text string
		if json.Unmarshal([]byte(lit), &text) == nil {
			shown, quoted = text, "'"+text+"'"
		}
	}
	if e.Field == "" {
		return cluster.Errorf(cluster.Invalid, "%s is not of type '%s'", quoted, schemaType(e.Type))
	}
	field := e.Field[strings.LastIndexByte(e.Field, '.')+1:]
	return cluster.Errorf(cluster.Invalid, "Invalid input for field/attribute %s. Value: %s. %s is not of type '%s'", field, shown, quoted,
		schemaType(e.Type))
}

// maxShown is how long a value may be to be shown in an error.
const maxShown = 64

// literalBefore gives the number, text or word of a JSON body that ends at an offset; "" when there is none, or a long one.
func literalBefore(body []byte, end int) string {
	if end < 1 || end > len(body) {
		return ""
	}
	for start := end - 1; start >= 0 && end-start <= maxShown; start-- {
		atEdge := start == 0 || strings.IndexByte(" \t\r\n,:[{", body[start-1]) >= 0
		if lit := body[start:end]; atEdge && json.Valid(lit) {
			return string(lit)
		}
	}
	return ""
}

// schemaType is what JSON schema calls a Go type.
func schemaType(t reflect.Type) string {
	switch t.Kind() {
	case reflect.String:
		return "string"
	case reflect.Bool:
		return "boolean"
	case reflect.Slice, reflect.Array:
		return "array"
	case reflect.Float32, reflect.Float64:
		return "number"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "integer"
	case reflect.Pointer:
		return schemaType(t.Elem())
	default:
		return "object"
	}
}
