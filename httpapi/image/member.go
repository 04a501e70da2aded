package image

import (
	"maps"
	"net/http"
	"slices"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/rest"
)

// What a project that an image is shared with thinks of that.
const (
	memberPending  = "pending"
	memberAccepted = "accepted"
	memberRejected = "rejected"
)

var errNotShared = cluster.Errorf(cluster.Forbidden, "Only shared images have members.")

// renderMember shows a member. When it came is not kept; the times are those of the image's last change.
func renderMember(i *cluster.Image, id string) map[string]any {
	return map[string]any{
		"member_id": id, "image_id": i.ID, "status": i.Members[id], "schema": "/v2/schemas/member",
		"created_at": rest.Nova(i.Updated), "updated_at": rest.Nova(i.Updated),
	}
}

// seesMember tells whether a caller may know that an image is shared with a project: its owner, and that project.
func seesMember(c *rest.Caller, i *cluster.Image, id string) bool {
	return c.Admin() || owns(c, i) || id == string(c.ProjectID())
}

// shared gives the image of the path if it has members.
func (s *server) shared(r *http.Request) (*cluster.Image, error) {
	view, err := rest.View(r, s.Backend)
	if err != nil {
		return nil, err
	}
	i, err := find(r, view)
	if err == nil && i.Visibility != cluster.Shared {
		err = errNotShared
	}
	return i, err
}

func (s *server) listMembers(w http.ResponseWriter, r *http.Request) error {
	i, err := s.shared(r)
	if err != nil {
		return err
	}
	list := []any{}
	for _, id := range slices.Sorted(maps.Keys(i.Members)) {
		if seesMember(rest.CallerFrom(r.Context()), i, id) {
			list = append(list, renderMember(i, id))
		}
	}
	rest.Reply(w, http.StatusOK, map[string]any{"members": list, "schema": "/v2/schemas/members"})
	return nil
}

func (s *server) showMember(w http.ResponseWriter, r *http.Request) error {
	i, err := s.shared(r)
	if err != nil {
		return err
	}
	return s.replyMember(w, r, i, rest.Param(r, "member"))
}

func (s *server) replyMember(w http.ResponseWriter, r *http.Request, i *cluster.Image, id string) error {
	if _, ok := i.Members[id]; !ok || !seesMember(rest.CallerFrom(r.Context()), i, id) {
		return noMember(i, id)
	}
	rest.Reply(w, http.StatusOK, renderMember(i, id))
	return nil
}

func noMember(i *cluster.Image, id string) error {
	return cluster.Errorf(cluster.NotFound, "%s not found in the member list of the image %s.", clip(id), i.ID)
}

func (s *server) addMember(w http.ResponseWriter, r *http.Request) error {
	body, err := rest.Decode[struct {
		Member string `json:"member"`
	}](r)
	if err != nil {
		return err
	}
	if body.Member == "" {
		return cluster.Errorf(cluster.Invalid, `Expected a member in the form: {"member": "project_id"}`)
	}
	if err := rest.CheckText("member", body.Member, 1, maxText); err != nil {
		return err
	}
	err = s.update(r, "add_member", func(i *cluster.Image) (bool, error) {
		_, there := i.Members[body.Member]
		switch {
		case i.Visibility != cluster.Shared:
			return false, errNotShared
		case there:
			return false, cluster.Errorf(cluster.Conflict, "Image member %s already exists for image %s", clip(body.Member), i.ID)
		case len(i.Members) >= maxMembers:
			return false, exceeded("image members for this image", len(i.Members)+1, maxMembers)
		}
		if i.Members == nil {
			i.Members = map[string]string{}
		}
		i.Members[body.Member] = memberPending
		return true, nil
	})
	if err != nil {
		return err
	}
	i, err := s.shared(r)
	if err != nil {
		return err
	}
	return s.replyMember(w, r, i, body.Member)
}

// changeMember is for the project that the image is shared with, not for its owner.
func (s *server) changeMember(w http.ResponseWriter, r *http.Request) error {
	body, err := rest.Decode[struct {
		Status string `json:"status"`
	}](r)
	if err != nil {
		return err
	}
	if !slices.Contains([]string{memberPending, memberAccepted, memberRejected}, body.Status) {
		return cluster.Errorf(cluster.Invalid, "Provided object does not match schema 'member': '%s' is not one of ['pending', 'accepted', 'rejected']", clip(body.Status))
	}
	c, id := rest.CallerFrom(r.Context()), rest.Param(r, "member")
	_, err = rest.Update(r, s.Backend, func(view *cluster.View) (cluster.Op, error) {
		i, err := find(r, view)
		switch {
		case err != nil:
			return nil, err
		case i.Visibility != cluster.Shared:
			return nil, errNotShared
		case i.Members[id] == "" || !seesMember(c, i, id):
			return nil, noMember(i, id)
		case !c.Admin() && (id != string(c.ProjectID()) || c.RequireMember() != nil):
			return nil, denied("modify_member")
		}
		i = i.Clone()
		i.Members[id] = body.Status
		return &cluster.PutImage{Image: *i}, nil
	})
	if err != nil {
		return err
	}
	i, err := s.shared(r)
	if err != nil {
		return err
	}
	return s.replyMember(w, r, i, id)
}

func (s *server) removeMember(w http.ResponseWriter, r *http.Request) error {
	id := rest.Param(r, "member")
	err := s.update(r, "delete_member", func(i *cluster.Image) (bool, error) {
		if i.Visibility != cluster.Shared {
			return false, errNotShared
		}
		if _, ok := i.Members[id]; !ok {
			return false, noMember(i, id)
		}
		delete(i.Members, id)
		return true, nil
	})
	if err != nil {
		return err
	}
	noContent(w)
	return nil
}
