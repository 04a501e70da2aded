package main

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// What SECURITY.md promises is only worth something while the tests that it names are there.
func TestSecurity_EveryPromiseHasItsTests(t *testing.T) {
	page, err := os.ReadFile("SECURITY.md")
	if err != nil {
		t.Fatal(err)
	}
	defined := map[string]bool{}
	definition := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
	for _, s := range sources(t) {
		if !s.test {
			continue
		}
		text, err := os.ReadFile(s.path)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range definition.FindAllStringSubmatch(string(text), -1) {
			defined[m[1]] = true
		}
	}
	named := regexp.MustCompile("`((?:Test|Fuzz)\\w+)`")
	for n, line := range strings.Split(string(page), "\n") {
		tests := named.FindAllStringSubmatch(line, -1)
		for _, m := range tests {
			if !defined[m[1]] {
				t.Errorf("SECURITY.md:%d names %s, which does not exist: name the test that shows this promise, or write it", n+1, m[1])
			}
		}
		row := strings.HasPrefix(line, "| ") && !strings.HasPrefix(line, "| promise")
		if row && len(tests) == 0 {
			t.Errorf("SECURITY.md:%d promises something and names no test", n+1)
		}
	}
}
