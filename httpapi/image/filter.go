package image

import (
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/rest"
)

// filter tells whether an image is wanted.
type filter func(*cluster.Image) bool

// texts are the attributes that a filter compares as text; those of listed may be given as "in:a,b" too.
var (
	texts = map[string]func(*cluster.Image) string{
		"id":               func(i *cluster.Image) string { return string(i.ID) },
		"name":             func(i *cluster.Image) string { return i.Name },
		"status":           func(i *cluster.Image) string { return string(i.Status) },
		"container_format": func(i *cluster.Image) string { return i.Format.Container },
		"disk_format":      func(i *cluster.Image) string { return i.Format.Disk },
		"owner":            func(i *cluster.Image) string { return string(i.Owner) },
		"min_disk":         func(i *cluster.Image) string { return strconv.FormatInt(i.Format.MinDiskGiB, 10) },
		"min_ram":          func(i *cluster.Image) string { return strconv.FormatInt(i.Format.MinRAMMiB, 10) },
		"size": func(i *cluster.Image) string {
			return ofData(i, func(d *cluster.ImageData) string { return strconv.FormatInt(d.Size, 10) })
		},
		"checksum":      func(i *cluster.Image) string { return ofData(i, func(d *cluster.ImageData) string { return d.MD5 }) },
		"os_hash_value": func(i *cluster.Image) string { return ofData(i, func(d *cluster.ImageData) string { return d.SHA512 }) },
		"os_hash_algo":  func(i *cluster.Image) string { return ofData(i, func(*cluster.ImageData) string { return "sha512" }) },
	}
	listed = []string{"id", "name", "status", "container_format", "disk_format"}
)

func ofData(i *cluster.Image, f func(*cluster.ImageData) string) string {
	d := i.Content()
	if d == nil {
		return ""
	}
	return f(d)
}

// chosen gives the filter that a query asks for, of what the caller may see. Every part of the query must hold.
func chosen(c *rest.Caller, q url.Values) (filter, error) {
	visible, err := visibleTo(c, q.Get("visibility"), q.Get("member_status"))
	if err != nil {
		return nil, err
	}
	all := []filter{visible}
	if !q.Has("os_hidden") {
		all = append(all, func(i *cluster.Image) bool { return !i.Hidden })
	}
	for _, key := range slices.Sorted(maps.Keys(q)) {
		if key == "visibility" || slices.Contains(notFilters, key) {
			continue
		}
		for _, value := range q[key] {
			f, err := parseFilter(key, value)
			if err != nil {
				return nil, err
			}
			all = append(all, f)
		}
	}
	return func(i *cluster.Image) bool {
		return !slices.ContainsFunc(all, func(f filter) bool { return !f(i) })
	}, nil
}

// visibleTo is what a list shows of each visibility. Without a word about it: the project's own, public ones, and those
// shared with the project that it accepted. Administrators see everything.
func visibleTo(c *rest.Caller, visibility, memberStatus string) (filter, error) {
	if visibility != "" && visibility != "all" && !slices.Contains(visibilities, visibility) {
		return nil, cluster.Errorf(cluster.Invalid, "Invalid visibility value: %s", clip(visibility))
	}
	switch memberStatus {
	case "":
		memberStatus = memberAccepted
	case "all", memberPending, memberAccepted, memberRejected:
	default:
		return nil, cluster.Errorf(cluster.Invalid, "Invalid status: %s", clip(memberStatus))
	}
	return func(i *cluster.Image) bool {
		if visibility != "" && visibility != "all" && string(i.Visibility) != visibility {
			return false
		}
		if c.Admin() || owns(c, i) {
			return true
		}
		switch i.Visibility {
		case cluster.Public:
			return true
		case cluster.Community:
			return visibility != ""
		case cluster.Shared:
			status, member := i.Members[string(c.ProjectID())]
			return member && (memberStatus == "all" || status == memberStatus)
		}
		return false
	}, nil
}

// parseFilter reads one parameter of the query. A name that is no attribute is that of a property.
func parseFilter(key, value string) (filter, error) {
	switch key {
	case "tag":
		return func(i *cluster.Image) bool { return slices.Contains(i.Tags, value) }, nil
	case "protected":
		return parseFlag(key, value, func(i *cluster.Image) bool { return i.Protected })
	case "os_hidden":
		return parseFlag(key, value, func(i *cluster.Image) bool { return i.Hidden })
	case "size_min", "size_max":
		return parseSize(key, value)
	case "created_at":
		return parseTime(key, value, func(i *cluster.Image) cluster.Time { return i.Created })
	case "updated_at":
		return parseTime(key, value, func(i *cluster.Image) cluster.Time { return i.Updated })
	}
	of, ok := texts[key]
	if !ok {
		return func(i *cluster.Image) bool {
			v, ok := i.Properties[key]
			return ok && v == value && !strings.HasPrefix(key, reserved)
		}, nil
	}
	wanted := []string{value}
	if list, ok := strings.CutPrefix(value, "in:"); ok && slices.Contains(listed, key) {
		var err error
		if wanted, err = splitList(list); err != nil {
			return nil, err
		}
	}
	return func(i *cluster.Image) bool { return slices.Contains(wanted, of(i)) }, nil
}

func parseFlag(key, value string, of filter) (filter, error) {
	want, err := strconv.ParseBool(value)
	if err != nil {
		return nil, cluster.Errorf(cluster.Invalid, "Invalid value '%s' for '%s' filter. Valid values are case-insensitive 'true' or 'false'.", clip(value), key)
	}
	return func(i *cluster.Image) bool { return of(i) == want }, nil
}

func parseSize(key, value string) (filter, error) {
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil || n < 0 {
		return nil, cluster.Errorf(cluster.Invalid, "Unable to filter on a range with a non-numeric value: %s is '%s'.", key, clip(value))
	}
	if key == "size_min" {
		return func(i *cluster.Image) bool { return i.Content() != nil && i.Content().Size >= n }, nil
	}
	return func(i *cluster.Image) bool { return i.Content() != nil && i.Content().Size <= n }, nil
}

// timeFormats are the forms of ISO 8601 that clients use; without a zone it is UTC.
var timeFormats = []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02T15:04", "2006-01-02"}

// parseTime reads "gt:2026-01-02T03:04:05Z" and the like. Times are compared in the whole seconds that clients see.
func parseTime(key, value string, of func(*cluster.Image) cluster.Time) (filter, error) {
	op, text, found := strings.Cut(value, ":")
	holds, known := comparisons[op]
	if !found || !known {
		holds, text = comparisons["eq"], value
	}
	for _, format := range timeFormats {
		if t, err := time.Parse(format, text); err == nil {
			return func(i *cluster.Image) bool { return holds(of(i).Std().Unix(), t.Unix()) }, nil
		}
	}
	return nil, cluster.Errorf(cluster.Invalid, "Bad \"%s\" query filter format. Use ISO 8601 DateTime notation.", key)
}

var comparisons = map[string]func(have, want int64) bool{
	"gt":  func(have, want int64) bool { return have > want },
	"gte": func(have, want int64) bool { return have >= want },
	"lt":  func(have, want int64) bool { return have < want },
	"lte": func(have, want int64) bool { return have <= want },
	"eq":  func(have, want int64) bool { return have == want },
	"neq": func(have, want int64) bool { return have != want },
}

// splitList reads a,b,"c,d": texts between commas, in quotes where they hold a comma or a quote, which is written \".
func splitList(list string) ([]string, error) {
	var out []string
	for {
		var one string
		if rest, quoted := strings.CutPrefix(list, `"`); quoted {
			end := closing(rest)
			if end < 0 || end+1 < len(rest) && rest[end+1] != ',' {
				return nil, cluster.Errorf(cluster.Invalid, "Invalid filter value: the quotes do not match or have no comma behind them.")
			}
			one, list = strings.ReplaceAll(rest[:end], `\"`, `"`), rest[end+1:]
		} else {
			end := strings.IndexByte(list, ',')
			if end < 0 {
				end = len(list)
			}
			if one, list = list[:end], list[end:]; strings.Contains(one, `"`) {
				return nil, cluster.Errorf(cluster.Invalid, "Invalid filter value: the quotes do not match or have no comma before them.")
			}
		}
		out = append(out, one)
		if list == "" {
			return out, nil
		}
		list = list[1:] // the comma
	}
}

// closing finds the quote that ends a text; -1 when there is none.
func closing(s string) int {
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return i
		}
	}
	return -1
}
