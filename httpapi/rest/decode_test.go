package rest

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/kilonova/kilonova/cluster"
)

type serverInput struct {
	Name     string            `json:"name"`
	Count    *int              `json:"min_count"`
	Metadata map[string]string `json:"metadata"`
	Networks []struct {
		UUID string `json:"uuid"`
	} `json:"networks"`
	Any any `json:"any"`
	embedded
}

type embedded struct {
	Hostname string `json:"hostname"`
}

type envelope struct {
	Server serverInput `json:"server"`
}

func request(body string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "http://host/x", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	return r
}

// TestDecode_TakesWhatItShould: fields of all sorts arrive, and unknown ones do not matter unless the API is strict.
func TestDecode_TakesWhatItShould(t *testing.T) {
	const body = `{"server":{"name":"web","min_count":2,"metadata":{"a":"b"},"networks":[{"uuid":"u"}],"any":{"x":[1,{"y":2}]},"hostname":"h"}}`
	for _, decode := range []func(*http.Request) (envelope, error){Decode[envelope], DecodeStrict[envelope]} {
		v, err := decode(request(" " + body + "\n"))
		if err != nil || v.Server.Name != "web" || *v.Server.Count != 2 || v.Server.Metadata["a"] != "b" || v.Server.Networks[0].UUID != "u" {
			t.Errorf("%+v, %v", v, err)
		}
	}
	if _, err := Decode[envelope](request(`{"server":{"name":"x","zzz":1,"name":"y"}}`)); err != nil {
		t.Error(err)
	}
}

// TestDecode_RefusesWithOpenStacksWords.
func TestDecode_RefusesWithOpenStacksWords(t *testing.T) {
	deep := func(n int) string { return strings.Repeat(`{"a":`, n) + "1" + strings.Repeat("}", n) }
	for name, c := range map[string]struct{ body, want string }{
		"bad JSON":         {`{bad`, "Malformed request body"},
		"two values":       {`{} {}`, "Malformed request body"},
		"not UTF-8":        {"{\"a\":\"\xff\"}", "Malformed request body"},
		"empty":            {``, "None is not of type 'object'"},
		"null":             {` null `, "None is not of type 'object'"},
		"array":            {`[]`, "array is not of type 'object'"},
		"number for text":  {`{"server":{"name":5}}`, "Invalid input for field/attribute name. Value: 5. 5 is not of type 'string'"},
		"text for number":  {`{"server":{"min_count":"x"}}`, "Invalid input for field/attribute min_count. Value: x. 'x' is not of type 'integer'"},
		"text for array":   {`{"server":{"networks":"none"}}`, "Invalid input for field/attribute networks. Value: none. 'none' is not of type 'array'"},
		"deep":             {deep(10_000), "Request body nests deeper than 64 levels."},
		"deep, not closed": {strings.Repeat("[", 100_000), "Request body nests deeper than 64 levels."},
		"barely too deep":  {deep(65), "Request body nests deeper than 64 levels."},
		"too large":        {`{"server":{"name":"` + strings.Repeat("x", MaxBody) + `"}}`, "Request is too large. Larger than max_request_body_size (114688)."},
	} {
		if _, err := Decode[envelope](request(c.body)); err == nil || err.Error() != c.want {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
	if _, err := Decode[envelope](request(deep(64))); err != nil {
		t.Errorf("64 levels: %v", err)
	}
	if _, err := Decode[envelope](request(`{"server":{"name":"` + strings.Repeat("[", 1000) + `"}}`)); err != nil {
		t.Errorf("brackets within a text: %v", err)
	}
}

// TestDecodeStrict_RefusesWhatItDoesNotKnow, in exactly the spelling that it knows, at any depth.
func TestDecodeStrict_RefusesWhatItDoesNotKnow(t *testing.T) {
	for body, want := range map[string]string{
		`{"server":{"zzz":1}}`:                "Invalid input for field/attribute server. Additional properties are not allowed ('zzz' was unexpected)",
		`{"server":{"zzz":1,"yyy":{"a":[]}}}`: "Invalid input for field/attribute server. Additional properties are not allowed ('zzz', 'yyy' were unexpected)",
		`{"server":{"Name":"x"}}`:             "Invalid input for field/attribute server. Additional properties are not allowed ('Name' was unexpected)",
		`{"server":{"networks":[{"x":1}]}}`:   "Invalid input for field/attribute networks. Additional properties are not allowed ('x' was unexpected)",
		`{"server":{},"os:hints":{}}`:         "Invalid input for field/attribute body. Additional properties are not allowed ('os:hints' was unexpected)",
		`{"server":{"name":"a","name":"b"}}`:  "Invalid input for field/attribute server. 'name' is there twice",
		`{"server":{"any":{"a":1,"a":2}}}`:    "Invalid input for field/attribute any. 'a' is there twice",
	} {
		if _, err := DecodeStrict[envelope](request(body)); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", body, err, want)
		}
	}
	if _, err := DecodeStrict[envelope](request(`{"server":{"metadata":{"what":"ever"},"any":{"what":"ever"}}}`)); err != nil {
		t.Error(err)
	}
}

// TestDecode_MediaTypes: JSON in its many names, and nothing else.
func TestDecode_MediaTypes(t *testing.T) {
	for media, ok := range map[string]bool{
		"application/json": true, "application/json; charset=utf-8": true, "": true, "text/plain": true,
		"application/vnd.openstack.identity-v3+json": true, "application/openstack-images-v2.1-json-patch": true,
		"application/xml": false, "application/x-www-form-urlencoded": false, "multipart/form-data; boundary=x": false, "///": false,
	} {
		r := request(`{}`)
		r.Header.Set("Content-Type", media)
		_, err := Decode[envelope](r)
		if (err == nil) != ok {
			t.Errorf("%q: %v", media, err)
		}
		if !ok && explain(err, nil).status != http.StatusUnsupportedMediaType {
			t.Errorf("%q: %v", media, err)
		}
	}
}

// TestWithBodyLimit_ChangesTheLimit for the handlers below it, also for a body whose length is not announced.
func TestWithBodyLimit_ChangesTheLimit(t *testing.T) {
	var got error
	h := WithBodyLimit(10)(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, got = Decode[any](r) }))
	for body, code := range map[string]cluster.Code{`"12345678"`: "", `"123456789"`: cluster.TooLarge} {
		for _, announced := range []bool{true, false} {
			r := request(body)
			if !announced {
				r.ContentLength = -1
			}
			h.ServeHTTP(httptest.NewRecorder(), r)
			if code == "" && got != nil || code != "" && cluster.CodeOf(got) != code {
				t.Errorf("%s: %v", body, got)
			}
		}
	}
}

// TestDecode_ASilentClientIsCutOff: a client announces a body and never sends it. Its time is up, and the handler is free.
func TestDecode_ASilentClientIsCutOff(t *testing.T) {
	got := make(chan error, 1)
	srv := httptest.NewServer(RequestID("compute")(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		exchangeOf(r).deadline(time.Now().Add(20 * time.Millisecond))
		// A copy without its exchange, so that the real deadline, which is long, does not replace this one.
		_, err := Decode[envelope](&http.Request{Header: r.Header, Body: r.Body, ContentLength: r.ContentLength})
		got <- err
	})))
	defer srv.Close()
	conn, err := net.Dial("tcp", srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := io.WriteString(conn, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if err := <-got; cluster.CodeOf(err) != cluster.Invalid {
		t.Errorf("got %v", err)
	}
}

// FuzzDecode: any body is decoded or refused as the client's fault, and a strict API takes nothing that a lenient one refuses.
func FuzzDecode(f *testing.F) {
	for _, s := range []string{`{}`, `{"server":{"name":"x"}}`, `[`, `{"a":{"a":[[["\""]]]}}`, `"\ud800"`, `{"server":{"networks":[{"uuid":"\\"}]}}`, `1e999`, `nul`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, body string) {
		strict, errStrict := DecodeStrict[envelope](request(body))
		lenient, errLenient := Decode[envelope](request(body))
		for _, err := range []error{errStrict, errLenient} {
			if err != nil && explain(err, nil).status >= 500 {
				t.Errorf("%q is our fault: %v", body, err)
			}
		}
		if errStrict == nil && (errLenient != nil || !reflect.DeepEqual(strict, lenient)) {
			t.Errorf("%q: strictly %+v, else %+v %v", body, strict, lenient, errLenient)
		}
		if json.Valid([]byte(body)) && depth([]byte(body)) < 0 {
			t.Errorf("%q has a depth below zero", body)
		}
	})
}

// A client that closes its connection afterwards, as Python's urllib does, sends too much, and reads only when it has sent
// everything. It still learns why it was refused; were it not heard out, its connection would break while it sends.
func TestDecode_WhoClosesAfterwardsLearnsThatItWasTooMuch(t *testing.T) {
	srv := httptest.NewServer(RequestID("compute")(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, err := Decode[envelope](r)
		NovaErrors.Fail(w, r, err)
	})))
	defer srv.Close()
	body := strings.Repeat("x", MaxBody+heardOut/2)
	for name, head := range map[string]string{
		"a length": fmt.Sprintf("Content-Length: %d\r\n\r\n", len(body)),
		"chunks":   fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n", len(body)),
	} {
		conn, err := net.Dial("tcp", srv.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		for i, part := range []string{"POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n" + head, body[:len(body)-100], body[len(body)-100:] + "\r\n0\r\n\r\n"} {
			if i == 2 {
				time.Sleep(time.Second) // net/http waits half as long before it closes
			}
			if _, err := io.WriteString(conn, part); err != nil {
				t.Errorf("%s: send part %d: %v", name, i, err)
			}
		}
		answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil || answer.StatusCode != http.StatusRequestEntityTooLarge {
			t.Errorf("%s: %+v, %v", name, answer, err)
		}
		_ = conn.Close()
	}
}
