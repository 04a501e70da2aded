package pki

import (
	"strings"
	"testing"
)

// A token survives the copying, and says plainly when it did not.
func TestJoinToken_RoundTripAndTypingErrors(t *testing.T) {
	token := NewJoinToken(authority(t, "c1"))
	text := token.String()
	got, err := ParseJoinToken(" " + text + "\n")
	if err != nil || got.ID != token.ID || got.SecretHash() != token.SecretHash() || got.Pin != token.Pin {
		t.Fatalf("round trip: %v", err)
	}
	flipped := []byte(text)
	if flipped[20] == 'A' {
		flipped[20] = 'B'
	} else {
		flipped[20] = 'A'
	}
	for _, bad := range []string{"", "kn1.", text[:len(text)-3], string(flipped), strings.TrimPrefix(text, "kn1."), "kn1.!!!"} {
		if _, err := ParseJoinToken(bad); err == nil {
			t.Errorf("%q was accepted", bad)
		} else if len(bad) > 10 && strings.Contains(err.Error(), bad[4:]) {
			t.Errorf("the error shows the token: %v", err)
		}
	}
}

func FuzzParseJoinToken(f *testing.F) {
	f.Add("kn1.AAAA")
	f.Add("")
	f.Fuzz(func(t *testing.T, s string) {
		token, err := ParseJoinToken(s)
		if err == nil && token.String() != strings.TrimSpace(s) {
			t.Errorf("%q reads as %q", s, token.String())
		}
	})
}
