package image

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/kilonova/kilonova/httpapi/rest"
)

// One range is served as asked; what cannot be is 416 and says how long the image is.
func TestDownload_Ranges(t *testing.T) {
	c := newCloud(t)
	id := c.active("demo", rawImage, "0123456789")
	for header, want := range map[string]struct {
		status  int
		body    string
		content string
	}{
		"bytes=0-3":                    {206, "0123", "bytes 0-3/10"},
		"bytes=4-":                     {206, "456789", "bytes 4-9/10"},
		"bytes=-3":                     {206, "789", "bytes 7-9/10"},
		"bytes=-30":                    {206, "0123456789", "bytes 0-9/10"},
		"bytes=8-30":                   {206, "89", "bytes 8-9/10"},
		"bytes=9-9":                    {206, "9", "bytes 9-9/10"},
		"bytes=10-":                    {416, "", "bytes */10"},
		"bytes=3-2":                    {416, "", "bytes */10"},
		"bytes=-0":                     {416, "", "bytes */10"},
		"bytes=0-1,4-5":                {416, "", "bytes */10"},
		"bytes=":                       {416, "", "bytes */10"},
		"bytes=a-b":                    {416, "", "bytes */10"},
		"items=0-1":                    {416, "", "bytes */10"},
		"bytes=0-99999999999999999999": {416, "", "bytes */10"},
	} {
		res := c.call("GET", "/v2/images/"+id+"/file", "demo", "", "Range", header)
		body, _ := io.ReadAll(res.Body)
		if res.StatusCode != want.status || res.Header.Get("Content-Range") != want.content || want.body != "" && string(body) != want.body {
			t.Errorf("%s: %d %q %q", header, res.StatusCode, res.Header.Get("Content-Range"), body)
		}
	}
}

// Bytes that cannot be read on are not taken for the end of the image.
func TestDownload_TornOneIsCutOff(t *testing.T) {
	c := newCloud(t)
	id := c.active("demo", rawImage, "0123456789")
	srv := httptest.NewServer(c.handler)
	defer srv.Close()
	get := func() (int, error) {
		req, err := http.NewRequest("GET", srv.URL+Path+"/v2/images/"+id+"/file", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set(rest.TokenHeader, "demo")
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return 0, err
		}
		defer res.Body.Close()
		_, err = io.ReadAll(res.Body)
		return res.StatusCode, err
	}
	c.store.torn = true
	if status, err := get(); err == nil {
		t.Errorf("%d without an error", status)
	}
	c.store.forget()
	if status, err := get(); status != http.StatusServiceUnavailable || err != nil {
		t.Errorf("no node has the bytes: %d %v", status, err)
	}
}

// A deactivated image can be seen and not downloaded, but by administrators.
func TestDownload_DeactivatedIsForAdministrators(t *testing.T) {
	c := newCloud(t)
	id := c.active("demo", rawImage, "0123456789")
	at := "/v2/images/" + id
	c.want(204, "POST", at+"/actions/deactivate", "demo", "")
	c.want(204, "POST", at+"/actions/deactivate", "demo", "")
	c.want(403, "GET", at+"/file", "demo", "")
	c.want(200, "GET", at+"/file", "admin", "")
	c.want(204, "POST", at+"/actions/reactivate", "demo", "")
	c.want(200, "GET", at+"/file", "viewer", "")
	c.want(403, "POST", at+"/actions/deactivate", "viewer", "")
	waiting := c.queued("demo", rawImage)
	c.want(403, "POST", "/v2/images/"+waiting+"/actions/deactivate", "demo", "")
}

// No header makes parseRange give what the image does not have.
func FuzzParseRange(f *testing.F) {
	for _, s := range []string{"", "bytes=0-9", "bytes=-1", "bytes=5-", "bytes=9223372036854775807-", "bytes=-9223372036854775808", "bytes=1-0"} {
		f.Add(s, int64(10))
	}
	f.Add("bytes=0-0", int64(0))
	f.Fuzz(func(t *testing.T, header string, size int64) {
		if size < 0 {
			return
		}
		p, err := parseRange(header, size)
		if err == nil && (p.start < 0 || p.length < 0 || p.start+p.length > size || p.asked && p.length == 0) {
			t.Errorf("%q of %d: %+v", header, size, p)
		}
	})
}
