package rest

import "github.com/kilonova/kilonova/cluster"

// The formats in which OpenStack shows times, always UTC.
const (
	novaTime     = "2006-01-02T15:04:05Z"
	microTime    = "2006-01-02T15:04:05.000000"
	keystoneTime = "2006-01-02T15:04:05.000000Z"
)

// Nova shows a time in whole seconds with a Z, as most of Nova, Glance and Neutron do. The zero Time is "".
func Nova(t cluster.Time) string { return format(t, novaTime) }

// Micros shows a time with microseconds and without a zone, as the older parts of Nova do. The zero Time is "".
func Micros(t cluster.Time) string { return format(t, microTime) }

// Keystone shows a time with microseconds and a Z. The zero Time is "".
func Keystone(t cluster.Time) string { return format(t, keystoneTime) }

// OrNull turns "" into JSON's null.
func OrNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func format(t cluster.Time, layout string) string {
	if t == 0 {
		return ""
	}
	return t.Std().Format(layout)
}
