package image

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/rest"
)

// How many images a page has: when the client does not say, and at most. As in Glance.
const (
	defaultPage = 25
	maxPage     = 1000
)

// sortKeys are what a list can be sorted by.
var sortKeys = map[string]func(a, b *cluster.Image) int{
	"name":             func(a, b *cluster.Image) int { return cmp.Compare(a.Name, b.Name) },
	"status":           func(a, b *cluster.Image) int { return cmp.Compare(a.Status, b.Status) },
	"container_format": func(a, b *cluster.Image) int { return cmp.Compare(a.Format.Container, b.Format.Container) },
	"disk_format":      func(a, b *cluster.Image) int { return cmp.Compare(a.Format.Disk, b.Format.Disk) },
	"size":             func(a, b *cluster.Image) int { return cmp.Compare(size(a), size(b)) },
	"id":               func(a, b *cluster.Image) int { return cmp.Compare(a.ID, b.ID) },
	"created_at":       func(a, b *cluster.Image) int { return cmp.Compare(a.Created, b.Created) },
	"updated_at":       func(a, b *cluster.Image) int { return cmp.Compare(a.Updated, b.Updated) },
}

// size is an image's size in bytes; 0 while it has none.
func size(i *cluster.Image) int64 {
	if i.Data == nil {
		return 0
	}
	return i.Data.Size
}

// notFilters are the query parameters that do not choose images by what they are.
var notFilters = []string{"limit", "marker", "sort", "sort_key", "sort_dir", "member_status"}

func (s *server) list(w http.ResponseWriter, r *http.Request) error {
	c := rest.CallerFrom(r.Context())
	if err := c.RequireReader(); err != nil {
		return err
	}
	q := r.URL.Query()
	keep, err := chosen(c, q)
	if err != nil {
		return err
	}
	p, err := parsePage(q)
	if err != nil {
		return err
	}
	view, err := rest.View(r, s.Backend)
	if err != nil {
		return err
	}
	var images []*cluster.Image
	for i := range view.Images() {
		if keep(i) {
			images = append(images, i)
		}
	}
	order(images, p.Sort)
	images, more, err := rest.Cut(images, p, func(i *cluster.Image) string { return string(i.ID) })
	if err != nil {
		return err
	}
	shown := make([]any, 0, len(images))
	for _, i := range images {
		shown = append(shown, render(i))
	}
	body := map[string]any{"images": shown, "schema": "/v2/schemas/images"}
	q.Del("marker")
	body["first"] = listPath(q)
	if more && len(images) > 0 {
		q.Set("marker", string(images[len(images)-1].ID))
		body["next"] = listPath(q)
	}
	rest.Reply(w, http.StatusOK, body)
	return nil
}

func listPath(q url.Values) string {
	if len(q) == 0 {
		return "/v2/images"
	}
	return "/v2/images?" + q.Encode()
}

// order sorts by the given keys, then by age, the newest first.
func order(images []*cluster.Image, keys []rest.Sort) {
	keys = append(slices.Clone(keys), rest.Sort{Key: "created_at", Descending: true}, rest.Sort{Key: "id", Descending: true})
	slices.SortFunc(images, func(a, b *cluster.Image) int {
		for _, k := range keys {
			c := sortKeys[k.Key](a, b)
			if k.Descending {
				c = -c
			}
			if c != 0 {
				return c
			}
		}
		return 0
	})
}

// parsePage reads which part of the list is wanted, and in what order.
func parsePage(q url.Values) (rest.Page, error) {
	p := rest.Page{Limit: defaultPage, Marker: q.Get("marker")}
	if text := q.Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		switch {
		case err != nil:
			return p, cluster.Errorf(cluster.Invalid, "limit param must be an integer")
		case n < 0:
			return p, cluster.Errorf(cluster.Invalid, "limit param must be positive")
		}
		p.Limit = min(n, maxPage)
	}
	keys, dirs := q["sort_key"], q["sort_dir"]
	if q.Has("sort") {
		if len(keys)+len(dirs) > 0 {
			return p, cluster.Errorf(cluster.Invalid, "Old and new sorting syntax cannot be combined")
		}
		for _, part := range strings.Split(q.Get("sort"), ",") {
			key, dir, _ := strings.Cut(strings.TrimSpace(part), ":")
			keys, dirs = append(keys, key), append(dirs, dir)
		}
	}
	if len(keys) == 0 && len(dirs) > 0 {
		keys = []string{"created_at"}
	}
	if len(dirs) > 1 && len(dirs) != len(keys) {
		return p, cluster.Errorf(cluster.Invalid, "Number of sort dirs does not match the number of sort keys")
	}
	for n, key := range keys {
		if sortKeys[key] == nil {
			return p, cluster.Errorf(cluster.Invalid, "Invalid sort key: %s. It must be one of the following: %s.", clip(key), strings.Join(sortNames(), ", "))
		}
		dir := "desc"
		if len(dirs) > 0 {
			dir = cmp.Or(dirs[min(n, len(dirs)-1)], dir)
		}
		if dir != "asc" && dir != "desc" {
			return p, cluster.Errorf(cluster.Invalid, "Invalid sort direction: %s. It must be one of the following: asc, desc.", clip(dir))
		}
		p.Sort = append(p.Sort, rest.Sort{Key: key, Descending: dir == "desc"})
	}
	return p, nil
}

func sortNames() []string {
	var names []string
	for name := range sortKeys {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
