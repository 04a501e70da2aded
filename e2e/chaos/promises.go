package chaos

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
)

// thing is a server or a volume that is there in the end.
type thing struct{ ID, Key string }

// broken lists the promises about creating and deleting that were not kept: what was acknowledged was done, once; what was refused was not done; and what
// nobody asked for is not there. make and drop are the kinds of the deeds; there is what is left in the end.
func broken(deeds []Deed, create, drop string, there []thing) []string {
	left := map[string][]string{} // IDs by key
	for _, t := range there {
		left[t.Key] = append(left[t.Key], t.ID)
	}
	made, dropped := map[string]Deed{}, map[string]outcome{}
	for _, d := range deeds {
		switch d.Kind {
		case create:
			made[d.Key] = d
		case drop:
			if d.Outcome != refused && dropped[d.Key] != done {
				dropped[d.Key] = d.Outcome
			}
		}
	}
	var all []string
	for _, key := range slices.Sorted(maps.Keys(made)) {
		if why := made[key].kept(left[key], dropped[key]); why != "" {
			all = append(all, fmt.Sprintf("%s %s: %s", create, key, why))
		}
	}
	for _, key := range slices.Sorted(maps.Keys(left)) {
		if _, asked := made[key]; !asked {
			all = append(all, fmt.Sprintf("%s %s: nobody asked for it, and there is %v", create, key, left[key]))
		}
	}
	return all
}

// kept says how a create was not kept, given what of it is left and what is known about its deletion ("": nobody tried); "": it was kept.
func (d Deed) kept(left []string, dropped outcome) string {
	ids := slices.Compact(slices.Sorted(slices.Values(d.IDs)))
	switch {
	case len(left) > 1:
		return fmt.Sprintf("one request made %v", left)
	case len(ids) > 1:
		return fmt.Sprintf("one request was answered with %v", ids)
	case len(left) == 1 && d.Outcome == refused:
		return fmt.Sprintf("it was refused (%d), and there is %s", d.Status, left[0])
	case len(left) == 1 && dropped == done:
		return fmt.Sprintf("its deletion was acknowledged, and there is %s", left[0])
	case len(left) == 1 && len(ids) == 1 && left[0] != ids[0]:
		return fmt.Sprintf("%s was acknowledged, and there is %s", ids[0], left[0])
	case len(left) == 0 && len(ids) == 1 && dropped == "":
		return fmt.Sprintf("%s was acknowledged, nobody deleted it, and it is not there", ids[0])
	}
	return ""
}

// strange lists answers that no fault excuses: a service that does not know says 503.
func strange(deeds []Deed) []string {
	var all []string
	for _, d := range deeds {
		if d.Status >= http.StatusInternalServerError && d.Outcome != unknown {
			all = append(all, fmt.Sprintf("%s %s via %v at %s: %d %s", d.Kind, d.Key, d.Via, d.Return, d.Status, d.Says))
		}
	}
	return all
}
