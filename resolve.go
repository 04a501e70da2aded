package main

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// named is what a thing of the cloud is called.
type named struct{ id, name string }

// resolve finds the one thing that an argument means: by its ID, else by its name. kind is for messages.
func resolve[T any](kind, arg string, all []T, of func(T) named) (T, error) {
	var found []T
	var ids []string
	for _, x := range all {
		n := of(x)
		if n.id == arg {
			return x, nil
		}
		if n.name == arg {
			found, ids = append(found, x), append(ids, n.id)
		}
	}
	var none T
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return none, fmt.Errorf("there is no %s %q: `kilonova %s list` shows what there is", kind, arg, kind)
	}
	slices.Sort(ids)
	return none, fmt.Errorf("%d %ss are called %q: name one by its ID: %s", len(found), kind, arg, strings.Join(ids, ", "))
}

// pairs reads arguments of the form KEY=VALUE.
func pairs(flag string, args []string) (map[string]string, error) {
	if len(args) == 0 {
		return nil, nil
	}
	out := make(map[string]string, len(args))
	for _, arg := range args {
		k, v, ok := strings.Cut(arg, "=")
		if !ok || k == "" {
			return nil, usagef("--%s %q is not KEY=VALUE", flag, arg)
		}
		if old, twice := out[k]; twice && old != v {
			return nil, usagef("--%s gives two values to %s: %q and %q", flag, k, old, v)
		}
		out[k] = v
	}
	return out, nil
}

var uuids = regexp.MustCompile(`^[0-9a-fA-F]{8}(-?[0-9a-fA-F]{4}){3}-?[0-9a-fA-F]{12}$`)

// isUUID tells whether an argument may be the ID of something: asking for it by ID is then worth a request.
func isUUID(arg string) bool { return uuids.MatchString(arg) }
