package image

import (
	"net/http"
	"slices"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/rest"
)

// remove deletes an image. Its bytes go from the nodes when nothing else refers to them.
func (s *server) remove(w http.ResponseWriter, r *http.Request) error {
	view, err := rest.View(r, s.Backend)
	if err != nil {
		return err
	}
	i, err := findOwn(r, view, "delete_image")
	if err != nil {
		return err
	}
	if _, err := rest.Change(r, s.Backend, &cluster.DeleteImage{ID: i.ID}); err != nil {
		return err
	}
	noContent(w)
	return nil
}

// deactivate keeps an image from being used and downloaded; reactivate undoes that.
func (s *server) deactivate(w http.ResponseWriter, r *http.Request) error {
	return s.switchTo(w, r, "deactivate", cluster.ImageActive, cluster.ImageDeactivated)
}

func (s *server) reactivate(w http.ResponseWriter, r *http.Request) error {
	return s.switchTo(w, r, "reactivate", cluster.ImageDeactivated, cluster.ImageActive)
}

func (s *server) switchTo(w http.ResponseWriter, r *http.Request, act string, from, to cluster.ImageStatus) error {
	err := s.update(r, act, func(i *cluster.Image) (bool, error) {
		if i.Status != from && i.Status != to {
			return false, cluster.Errorf(cluster.Forbidden, "Not allowed to %s image in status '%s'", act, i.Status)
		}
		changed := i.Status != to
		i.Status = to
		return changed, nil
	})
	if err != nil {
		return err
	}
	noContent(w)
	return nil
}

func (s *server) addTag(w http.ResponseWriter, r *http.Request) error {
	tag := rest.Param(r, "tag")
	if err := rest.CheckText("tag", tag, 1, maxText); err != nil {
		return err
	}
	err := s.update(r, "modify_image", func(i *cluster.Image) (bool, error) {
		if slices.Contains(i.Tags, tag) {
			return false, nil
		}
		if len(i.Tags) >= maxTags {
			return false, exceeded("image tags", len(i.Tags)+1, maxTags)
		}
		i.Tags = append(i.Tags, tag)
		return true, nil
	})
	if err != nil {
		return err
	}
	noContent(w)
	return nil
}

func (s *server) removeTag(w http.ResponseWriter, r *http.Request) error {
	tag := rest.Param(r, "tag")
	err := s.update(r, "modify_image", func(i *cluster.Image) (bool, error) {
		at := slices.Index(i.Tags, tag)
		if at < 0 {
			return false, cluster.Errorf(cluster.NotFound, "Image %s has no tag %s.", i.ID, clip(tag))
		}
		i.Tags = slices.Delete(i.Tags, at, at+1)
		return true, nil
	})
	if err != nil {
		return err
	}
	noContent(w)
	return nil
}
