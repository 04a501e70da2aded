package compute

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

// What is written is JSON, and reads back as what was meant; only bytes that are no UTF-8 are replaced.
func FuzzQuote(f *testing.F) {
	for _, s := range []string{"", "plain", `"\`, "\n\r\t\x00\x1f\x7f", "äö\u2028\U0001f600", "a\xffb\xc3", "</script>", "\xed\xa0\x80"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var got string
		if err := json.Unmarshal(quote(nil, s), &got); err != nil {
			t.Fatalf("%q is written as %q: %v", s, quote(nil, s), err)
		}
		if utf8.ValidString(s) && got != s {
			t.Fatalf("%q reads back as %q", s, got)
		}
		if n, m := utf8.RuneCountInString(s), utf8.RuneCountInString(got); n != m {
			t.Fatalf("%q has %d characters, and %d when read back", s, n, m)
		}
	})
}

// Commas come between values and members, and nowhere else.
func TestWriter_PutsCommas(t *testing.T) {
	var j writer
	j.open('{').field("a", "x").fieldNum("b", -1).key("c").open('[').open('{').close('}').num(1).null().truth(true).float(2).close(']')
	j.key("d").texts(map[string]string{"z": "1", "y": "2"}).key("e").strings(nil).key("f").micros(0).key("g").seconds(0).fieldOrNull("h", "").close('}')
	want := `{"a":"x","b":-1,"c":[{},1,null,true,2.0],"d":{"y":"2","z":"1"},"e":[],"f":null,"g":"","h":null}`
	if string(j.b) != want {
		t.Errorf("%s", j.b)
	}
}

// Host names are made of names as Nova makes them.
func TestHostnameOf_IsAlwaysAHostName(t *testing.T) {
	for name, want := range map[string]string{
		"web-1": "web-1", "Web Server_1": "web-server-1", "..x..": "x", "日本": "server-id", strings.Repeat("a", 70): strings.Repeat("a", 63), "<b>": "b",
		strings.Repeat("a", 62) + "-b": strings.Repeat("a", 62),
	} {
		if got := hostnameOf(name, "id"); got != want {
			t.Errorf("%q is %q instead of %q", name, got, want)
		}
	}
}

// MAC addresses are locally administered and unicast.
func TestRandomMAC_IsLocalAndUnicast(t *testing.T) {
	if a, b := randomMAC(), randomMAC(); a == b || len(a) != 17 || !strings.HasPrefix(a, "fa:") {
		t.Errorf("%s %s", a, b)
	}
}

// Times come in the forms that clients write.
func FuzzParseTime(f *testing.F) {
	for _, s := range []string{"2026-11-22T14:51:00.226128", "2026-11-22T14:51:00Z", "2026-11-22 14:51:00", "2026-11-22", "2026-11-22T14:51:00+01:00", "9999-01-01", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if v, err := parseTime(s); err == nil {
			if y := v.Std().Year(); v != 0 && (y < firstYear-1 || y > lastYear+1) {
				t.Fatalf("%q is in the year %d", s, y)
			}
		}
	})
}
