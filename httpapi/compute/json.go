package compute

import (
	"bytes"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/kilonova/kilonova/cluster"
)

// writer appends JSON to a buffer. A listing of a thousand servers is half a million values, which reflection would
// take several times as long for; and members come in Nova's order. It puts the commas itself.
type writer struct {
	b []byte
}

// open begins an object or an array; c is '{' or '['.
func (j *writer) open(c byte) *writer {
	j.comma()
	j.b = append(j.b, c)
	return j
}

// close ends an object or an array; c is '}' or ']'.
func (j *writer) close(c byte) *writer {
	j.b = append(j.b, c)
	return j
}

// comma separates a value or a member from the one before.
func (j *writer) comma() {
	if n := len(j.b); n > 0 && j.b[n-1] != '{' && j.b[n-1] != '[' && j.b[n-1] != ':' {
		j.b = append(j.b, ',')
	}
}

// key begins a member. Its value follows.
func (j *writer) key(name string) *writer {
	j.comma()
	j.b = append(quote(j.b, name), ':')
	return j
}

func (j *writer) str(s string) *writer {
	j.comma()
	j.b = quote(j.b, s)
	return j
}

func (j *writer) num(n int64) *writer {
	j.comma()
	j.b = strconv.AppendInt(j.b, n, 10)
	return j
}

// float writes a finite number, with a decimal point as Python does.
func (j *writer) float(f float64) *writer {
	j.comma()
	at := len(j.b)
	j.b = strconv.AppendFloat(j.b, f, 'f', -1, 64)
	if bytes.IndexByte(j.b[at:], '.') < 0 {
		j.b = append(j.b, ".0"...)
	}
	return j
}

func (j *writer) truth(t bool) *writer {
	j.comma()
	j.b = strconv.AppendBool(j.b, t)
	return j
}

func (j *writer) null() *writer {
	j.comma()
	j.b = append(j.b, "null"...)
	return j
}

// nullable writes s, or null when it is empty.
func (j *writer) nullable(s string) *writer {
	if s == "" {
		return j.null()
	}
	return j.str(s)
}

// raw writes a value that is JSON already.
func (j *writer) raw(b []byte) *writer {
	j.comma()
	j.b = append(j.b, b...)
	return j
}

func (j *writer) field(name, s string) *writer          { return j.key(name).str(s) }
func (j *writer) fieldNum(name string, n int64) *writer { return j.key(name).num(n) }
func (j *writer) fieldOrNull(name, s string) *writer    { return j.key(name).nullable(s) }
func (j *writer) fieldTruth(name string, t bool) *writer {
	return j.key(name).truth(t)
}

// seconds writes a time in whole seconds with a Z.
func (j *writer) seconds(t cluster.Time) *writer {
	j.comma()
	j.b = append(j.b, '"')
	if t != 0 {
		j.b = t.Std().AppendFormat(j.b, "2006-01-02T15:04:05Z")
	}
	j.b = append(j.b, '"')
	return j
}

// micros writes a time with microseconds and without a zone, or null for the zero Time.
func (j *writer) micros(t cluster.Time) *writer {
	if t == 0 {
		return j.null()
	}
	j.comma()
	j.b = append(j.b, '"')
	j.b = t.Std().AppendFormat(j.b, "2006-01-02T15:04:05.000000")
	j.b = append(j.b, '"')
	return j
}

// texts writes a map with its names in order.
func (j *writer) texts(m map[string]string) *writer {
	j.open('{')
	for _, k := range slices.Sorted(maps.Keys(m)) {
		j.field(k, m[k])
	}
	return j.close('}')
}

// strings writes a list of strings.
func (j *writer) strings(list []string) *writer {
	j.open('[')
	for _, s := range list {
		j.str(s)
	}
	return j.close(']')
}

const hexDigits = "0123456789abcdef"

// quote appends a JSON string. What is not UTF-8 becomes U+FFFD.
func quote(b []byte, s string) []byte {
	b = append(b, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && n == 1 {
				b = append(append(b, s[start:i]...), "\ufffd"...)
				start = i + 1
			}
			i += n
			continue
		}
		b = append(b, s[start:i]...)
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\n':
			b = append(b, '\\', 'n')
		case '\r':
			b = append(b, '\\', 'r')
		case '\t':
			b = append(b, '\\', 't')
		default:
			b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
		i++
		start = i
	}
	return append(append(b, s[start:]...), '"')
}

// reply sends what was written.
func reply(w http.ResponseWriter, status int, j *writer) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(j.b)))
	w.WriteHeader(status)
	if _, err := w.Write(j.b); err != nil {
		slog.Debug("client went away", "err", err)
	}
}

// writeLink writes one link object.
func writeLink(j *writer, rel, href string) {
	j.open('{').field("rel", rel).field("href", href).close('}')
}
