package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

type thing struct {
	name string
	size bytesSize
	tags []string
}

var thingColumns = []column[thing]{
	{"Name", func(t thing) any { return t.name }},
	{"Disk size", func(t thing) any { return t.size }},
	{"Tags", func(t thing) any { return t.tags }},
}

// TestPrint_ForPeopleAndForPrograms prints the same as a table and as JSON. What a user wrote does not break the table.
func TestPrint_ForPeopleAndForPrograms(t *testing.T) {
	things := []thing{{"web\n1\x1b", 1536, []string{"a", "b"}}, {"db", 5 << 30, nil}}
	var table, list, one bytes.Buffer
	for _, err := range []error{
		printList(printer{to: &table}, thingColumns, things), printList(printer{to: &list, json: true}, thingColumns, things),
		printOne(printer{to: &one}, thingColumns, things[1]),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	const wantTable = "NAME    DISK SIZE  TAGS\nweb 1   1.5 KiB    a, b\ndb      5.0 GiB    \n"
	if table.String() != wantTable {
		t.Errorf("table:\n%s", table.String())
	}
	const wantOne = "Name       db\nDisk size  5.0 GiB\n"
	if one.String() != wantOne {
		t.Errorf("one:\n%s", one.String())
	}
	var back []map[string]any
	if err := json.Unmarshal(list.Bytes(), &back); err != nil {
		t.Fatal(err)
	}
	if back[0]["name"] != things[0].name || back[0]["disk_size"] != 1536.0 {
		t.Errorf("JSON: %s", list.String())
	}
	var none bytes.Buffer
	if err := printList(printer{to: &none, json: true}, thingColumns, nil); err != nil || strings.TrimSpace(none.String()) != "[]" {
		t.Errorf("an empty list is %q, %v", none.String(), err)
	}
}

// TestBytesSize_Units reads sizes at the edges of units.
func TestBytesSize_Units(t *testing.T) {
	for n, want := range map[bytesSize]string{0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1 << 20: "1.0 MiB", 3 << 29: "1.5 GiB", 1<<63 - 1: "8.0 EiB"} {
		if got := n.String(); got != want {
			t.Errorf("%d is %s instead of %s", int64(n), got, want)
		}
	}
}

// TestResolve_NamesAndIDs finds things by ID before names, and refuses to guess between two.
func TestResolve_NamesAndIDs(t *testing.T) {
	all := []named{{"1", "web"}, {"2", "db"}, {"3", "db"}, {"4", "1"}}
	find := func(arg string) (named, error) {
		return resolve("server", arg, all, func(n named) named { return n })
	}
	for arg, want := range map[string]string{"web": "1", "1": "1", "3": "3"} {
		if got, err := find(arg); err != nil || got.id != want {
			t.Errorf("%s: %v, %v", arg, got, err)
		}
	}
	if _, err := find("db"); err == nil || err.Error() != `2 servers are called "db": name one by its ID: 2, 3` {
		t.Errorf("an ambiguous name: %v", err)
	}
	if _, err := find("nope"); err == nil || !strings.Contains(err.Error(), "kilonova server list") {
		t.Errorf("an unknown name: %v", err)
	}
}

// TestPairs_KeyAndValue reads properties.
func TestPairs_KeyAndValue(t *testing.T) {
	got, err := pairs("property", []string{"a=b", "c=d=e", "f=", "a=b"})
	if err != nil || len(got) != 3 || got["c"] != "d=e" || got["f"] != "" {
		t.Errorf("%v, %v", got, err)
	}
	for _, bad := range [][]string{{"a"}, {"=b"}, {""}, {"a=b", "a=c"}} {
		if _, err := pairs("property", bad); exitCode(err) != exitUsage {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// TestProgress_SaysSometimesWithoutATerminal transfers for ten seconds. There is a line every two seconds, and one at the
// end.
func TestProgress_SaysSometimesWithoutATerminal(t *testing.T) {
	var out bytes.Buffer
	now := time.Unix(0, 0)
	p := newProgress(&out, "image x", 1000)
	p.now, p.said = func() time.Time { return now }, now
	for range 10 {
		now = now.Add(time.Second)
		if n, err := p.Write(make([]byte, 100)); n != 100 || err != nil {
			t.Fatal(n, err)
		}
	}
	p.close()
	if got := out.String(); strings.Count(got, "\n") != 5 || !strings.HasSuffix(got, "image x: 1000 B of 1000 B\n") {
		t.Errorf("said:\n%s", got)
	}
}

// TestUpload_FileThatChanges is truncated, or grows, while it is read. Half a file is never taken for the image.
func TestUpload_FileThatChanges(t *testing.T) {
	for story, change := range map[string]func(string) error{
		"truncated": func(path string) error { return os.Truncate(path, 3) },
		"grown":     func(path string) error { return os.WriteFile(path, make([]byte, 100), 0o600) },
	} {
		path := writeTemp(t, "disk", "twelve bytes")
		u, err := openUpload(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := change(path); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(u); err == nil || !strings.Contains(err.Error(), "changed while it was read") {
			t.Errorf("%s: %v", story, err)
		}
		u.Close()
	}
	for _, bad := range []string{t.TempDir(), "/no/such/file", writeTemp(t, "empty", ""), os.DevNull} {
		if _, err := openUpload(bad); err == nil {
			t.Errorf("%s can be uploaded", bad)
		}
	}
}

// TestUserData_IsAlwaysEncoded reads text that happens to be base64. It is encoded all the same, and one that is too large is
// refused.
func TestUserData_IsAlwaysEncoded(t *testing.T) {
	if got, err := readUserData(writeTemp(t, "ud", "abcd")); err != nil || string(got) != "YWJjZA==" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := readUserData(writeTemp(t, "ud", strings.Repeat("x", maxUserData))); err != nil {
		t.Error(err)
	}
	if _, err := readUserData(writeTemp(t, "ud", strings.Repeat("x", maxUserData+1))); err == nil {
		t.Error("too much user data is taken")
	}
}

// TestWait_TellsEachStateOnce watches something become ready, fail, and take for ever.
func TestWait_TellsEachStateOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var notes bytes.Buffer
		c := &cloud{notes: &notes}
		states := []string{"BUILD", "BUILD", "BUILD", "ACTIVE"}
		err := c.wait(t.Context(), "server web", time.Minute, func(context.Context) (string, bool, error) {
			state := states[0]
			states = states[1:]
			return state, len(states) == 0, nil
		})
		if err != nil || notes.String() != "server web: BUILD\nserver web: ACTIVE\n" {
			t.Errorf("%v:\n%s", err, notes.String())
		}
		failed := errors.New("no")
		if err := c.wait(t.Context(), "x", time.Minute, func(context.Context) (string, bool, error) { return "", false, failed }); err != failed {
			t.Errorf("error %v", err)
		}
		forEver := func(context.Context) (string, bool, error) { return "BUILD", false, nil }
		if err := c.wait(t.Context(), "x", time.Minute, forEver); err == nil || !strings.Contains(err.Error(), "still BUILD after 1m0s") {
			t.Errorf("error %v", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		if err := c.wait(ctx, "x", time.Minute, forEver); exitCode(err) != exitInterrupted {
			t.Errorf("interrupted: %v", err)
		}
	})
}
