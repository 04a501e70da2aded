package volume

import (
	"cmp"
	"maps"
	"net/http"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/rest"
	"github.com/kilonova/kilonova/httpapi/schema"
)

// find gives the volume that the path names, if the caller may see it.
func (c *call) find() (*cluster.Volume, error) { return c.volume(c.view, c.param("id")) }

func (c *call) volume(view *cluster.View, text string) (*cluster.Volume, error) {
	id, ok := rest.CanonicalUUID(text)
	v, found := view.Volume(cluster.VolumeID(id))
	if !ok || !found || !c.caller.Sees(v.Project) {
		return nil, missing("Volume", text)
	}
	return v, nil
}

func (c *call) showVolume() error {
	v, err := c.find()
	if err != nil {
		return err
	}
	return c.reply(http.StatusOK, map[string]any{"volume": c.render(v, true)})
}

type createBody struct {
	Volume struct {
		named
		Size     *flexInt          `json:"size"`
		Type     *string           `json:"volume_type"`
		Zone     *string           `json:"availability_zone"`
		Metadata map[string]string `json:"metadata"`
		Image    *string           `json:"imageRef"`
		Snapshot *string           `json:"snapshot_id"`
		Source   *string           `json:"source_volid"`
		Backup   *string           `json:"backup_id"`
		Group    *string           `json:"group_id"`
		OldGroup *string           `json:"consistencygroup_id"`
		Many     flexBool          `json:"multiattach"`
	} `json:"volume"`
}

var createSchema = schema.Loose(map[string]*schema.Schema{"volume": schema.Loose(namedSchema(map[string]*schema.Schema{
	"size": schemaSize.OrNull(), "volume_type": schemaText, "availability_zone": schemaText, "metadata": schemaMetadata,
	"imageRef": schemaID, "snapshot_id": schemaID, "source_volid": schemaID, "backup_id": schemaID, "group_id": schemaID,
	"consistencygroup_id": schemaID, "multiattach": schema.Boolean().OrNull(),
}))}, "volume")

func (c *call) createVolume() error {
	if c.caller.Project == nil {
		return cluster.Errorf(cluster.Forbidden, "Policy doesn't allow volume:create to be performed.")
	}
	body, err := decode[createBody](c, createSchema)
	if err != nil {
		return err
	}
	v, err := c.ordered(&body)
	if err != nil {
		return err
	}
	res, err := c.change(&cluster.CreateVolume{Volume: *v})
	if err != nil {
		return err
	}
	made, ok := c.view.Volume(cluster.VolumeID(res.IDs[0])) // not what was proposed, when the client repeats itself
	if !ok {
		return missing("Volume", res.IDs[0])
	}
	return c.reply(http.StatusAccepted, map[string]any{"volume": c.render(made, false)})
}

// ordered makes the record that a client asked for.
func (c *call) ordered(body *createBody) (*cluster.Volume, error) {
	w := &body.Volume
	switch {
	case orEmpty(w.Backup) != "":
		return nil, unsupported("volumes from backups")
	case orEmpty(w.Group) != "" || orEmpty(w.OldGroup) != "":
		return nil, unsupported("groups of volumes")
	}
	v := &cluster.Volume{
		ID: cluster.VolumeID(rest.NewUUID()), Project: c.caller.ProjectID(), User: c.caller.User.ID,
		Name: orEmpty(w.name()), Description: orEmpty(w.about()), Metadata: w.Metadata,
	}
	if w.Size != nil {
		v.SizeGiB = int64(*w.Size)
	}
	v.Traits.Zone, v.Traits.Multiattach = orEmpty(w.Zone), bool(w.Many)
	if v.Traits.Zone != "" && !c.hasZone(v.Traits.Zone) {
		return nil, bad("Availability zone '%s' is invalid.", clip(v.Traits.Zone))
	}
	standard, err := c.source(v, orEmpty(w.Image), orEmpty(w.Snapshot), orEmpty(w.Source))
	if err != nil {
		return nil, err
	}
	if v.SizeGiB == 0 {
		return nil, bad("Invalid input for field/attribute volume. Value: {}. 'size' is a required property")
	}
	return v, c.typed(v, cmp.Or(orEmpty(w.Type), standard, cluster.DefaultVolumeType))
}

// typed gives a new volume its type and what follows from it. Code NotFound when there is none that the caller may use.
func (c *call) typed(v *cluster.Volume, name string) error {
	t, ok := c.typeNamed(name)
	if !ok {
		return cluster.Errorf(cluster.NotFound, "Volume type with name %s could not be found.", clip(name))
	}
	v.Type = t.ID
	if t.Encrypted() && len(v.Secret) == 0 {
		v.Secret = newPassphrase()
	}
	return nil
}

// source takes over what the volume begins as, and gives the type that follows from it: a copy has the original's, and an encrypted
// original's passphrase.
func (c *call) source(v *cluster.Volume, image, snapshot, original string) (standard string, err error) {
	given := 0
	for _, s := range []string{image, snapshot, original} {
		if s != "" {
			given++
		}
	}
	switch {
	case given > 1:
		return "", bad("Invalid input received: At most one of imageRef, snapshot_id and source_volid can be given.")
	case image != "":
		return "", c.fromImage(v, image)
	case snapshot != "":
		n, err := c.snapshot(c.view, snapshot)
		if err != nil {
			return "", err
		}
		v.Source, v.Secret = &cluster.VolumeSource{Snapshot: n.ID}, n.Secret
		v.SizeGiB = cmp.Or(v.SizeGiB, n.SizeGiB)
		return n.Type, nil
	case original != "":
		from, err := c.volume(c.view, original)
		if err != nil {
			return "", err
		}
		v.Source, v.Secret = &cluster.VolumeSource{Volume: from.ID}, from.Secret
		v.SizeGiB = cmp.Or(v.SizeGiB, from.SizeGiB)
		return from.Type, nil
	}
	return "", nil
}

func (c *call) fromImage(v *cluster.Volume, ref string) error {
	id, ok := rest.CanonicalUUID(ref)
	i, found := c.view.Image(cluster.ImageID(id))
	if !ok || !found || !c.seesImage(i) {
		return bad("Invalid image identifier or unable to access requested image.")
	}
	v.Source = &cluster.VolumeSource{Image: i.ID}
	v.ImageMetadata = imageMetadata(i)
	return nil
}

func (c *call) seesImage(i *cluster.Image) bool {
	if c.caller.Admin() || i.Owner == c.caller.ProjectID() || i.Visibility == cluster.Public || i.Visibility == cluster.Community {
		return true
	}
	_, member := i.Members[string(c.caller.ProjectID())]
	return member && i.Visibility == cluster.Shared
}

type updateBody struct {
	Volume struct {
		named
		Metadata *map[string]string `json:"metadata"`
	} `json:"volume"`
}

var updateSchema = schema.Loose(map[string]*schema.Schema{"volume": schema.Loose(namedSchema(map[string]*schema.Schema{"metadata": schemaMetadata}))}, "volume")

func (c *call) updateVolume() error {
	if _, err := c.find(); err != nil {
		return err
	}
	body, err := decode[updateBody](c, updateSchema)
	if err != nil {
		return err
	}
	w := &body.Volume
	if w.name() == nil && w.about() == nil && w.Metadata == nil {
		return bad("Invalid input for field/attribute volume. Value: {}. {} does not have enough properties")
	}
	return c.changeVolume(&cluster.UpdateVolume{Name: w.name(), Description: w.about(), Metadata: w.Metadata}, func(v *cluster.Volume) error {
		return c.reply(http.StatusOK, map[string]any{"volume": c.render(v, false)})
	})
}

// changeVolume changes the volume that the path names, and shows what became of it.
func (c *call) changeVolume(op *cluster.UpdateVolume, show func(*cluster.Volume) error) error {
	v, err := c.find()
	if err != nil {
		return err
	}
	op.ID = v.ID
	if _, err := c.change(op); err != nil {
		return err
	}
	if v, err = c.find(); err != nil {
		return err
	}
	return show(v)
}

func (c *call) deleteVolume() error {
	v, err := c.find()
	if err != nil {
		return err
	}
	q := c.r.URL.Query()
	cascade, _ := schema.Truth(q.Get("cascade"))
	force, _ := schema.Truth(q.Get("force"))
	if force {
		if err := c.admin("volume:force_delete"); err != nil {
			return err
		}
	}
	if _, err := c.change(&cluster.DeleteVolume{ID: v.ID, Cascade: cascade, Force: force}); err != nil {
		return err
	}
	return c.done(http.StatusAccepted)
}

// imageMetadata is what a volume remembers of its image, in Cinder's words.
func imageMetadata(i *cluster.Image) map[string]string { return cluster.VolumeImageMetadata(i) }

// changeMetadata replaces, adds to or removes from a map.
func changeMetadata(old, by map[string]string, replace bool) map[string]string {
	if replace {
		return by
	}
	all := maps.Clone(orObject(old))
	maps.Copy(all, by)
	return all
}
