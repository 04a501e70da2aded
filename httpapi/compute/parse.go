package compute

import (
	"encoding/base64"
	"net/netip"
	"strings"
	"time"

	"github.com/kilonova/kilonova/cluster"
)

// decodeBase64 reads standard base64, in which line breaks do not count.
func decodeBase64(s string) ([]byte, error) {
	return base64.StdEncoding.DecodeString(strings.NewReplacer("\n", "", "\r", "").Replace(s))
}

func encodeBase64(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

func isIP(s string, six bool) bool {
	a, err := netip.ParseAddr(s)
	return err == nil && a.Zone() == "" && a.Is6() == six
}

// canonicalIP writes an address as RFC 5952 wants it; anything else it leaves as it is.
func canonicalIP(s string) string {
	if a, err := netip.ParseAddr(s); err == nil {
		return a.String()
	}
	return s
}

// timeLayouts are the forms of ISO 8601 in which clients write times.
var timeLayouts = []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999", "2006-01-02T15:04",
	"2006-01-02T15:04:05.999999999Z0700", "2006-01-02"}

// parseTime reads a time; one without a zone is in UTC.
func parseTime(s string) (cluster.Time, error) {
	for _, layout := range timeLayouts {
		if t, err := time.Parse(layout, s); err == nil && t.Year() >= firstYear && t.Year() <= lastYear {
			return cluster.At(t), nil
		}
	}
	return 0, bad("Invalid time %q", s)
}

// What nanoseconds in 64 bits can count.
const (
	firstYear = 1678
	lastYear  = 2261
)
