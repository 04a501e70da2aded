package identity

import (
	"encoding/json"
	"strings"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/rest"
)

const (
	maxName        = 255
	maxProjectName = 64
	maxText        = 4096 // characters of a description or a property
	maxExtra       = 64   // further properties of a record
)

// checkName refuses names that Keystone refuses, and control characters.
func checkName(kind, name string, longest int) error {
	if err := rest.CheckText("name", name, 1, longest); err != nil {
		return err
	}
	if strings.TrimSpace(name) == "" || strings.ContainsAny(name, "\r\n\t") {
		return cluster.Errorf(cluster.Invalid, "Invalid input for field/attribute name. It is no name for a %s", kind)
	}
	return nil
}

// extras gives the properties of an object that are not among known: clients may keep their own there. They are texts.
func extras(data []byte, known ...string) (map[string]string, error) {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(data, &all); err != nil {
		return nil, err
	}
	for _, k := range known {
		delete(all, k)
	}
	extra := map[string]string{}
	for k, raw := range all {
		var text *string
		if err := json.Unmarshal(raw, &text); err != nil {
			return nil, cluster.Errorf(cluster.Invalid, "Invalid input for field/attribute %s. Further properties must be texts", k)
		}
		if text == nil {
			continue
		}
		if err := rest.CheckText("property", k, 1, maxName); err != nil {
			return nil, err
		}
		if err := rest.CheckText(k, *text, 0, maxText); err != nil {
			return nil, err
		}
		extra[k] = *text
	}
	return extra, nil
}

// merge adds properties to a record's own.
func merge(old, added map[string]string) (map[string]string, error) {
	if len(added) == 0 {
		return old, nil
	}
	all := map[string]string{}
	for k, v := range old {
		all[k] = v
	}
	for k, v := range added {
		all[k] = v
	}
	if len(all) > maxExtra {
		return nil, cluster.Errorf(cluster.Invalid, "A record has at most %d further properties.", maxExtra)
	}
	return all, nil
}

// put sets a text if the request has one.
func put(to, from *string) {
	if from != nil {
		*to = *from
	}
}
