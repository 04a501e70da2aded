package cluster

import "slices"

func (s *State) saveImage(o *PutImage) ([]string, *Error) {
	i := o.Image
	old, exists := lookup(&s.t.images, i.ID)
	if err := firstOf(checkImage(&i), revised("Image", string(i.ID), i.Revision, old.Revision, exists)); err != nil {
		return nil, err
	}
	if !exists && i.Owner != "" {
		if err := s.checkProjectIs(i.Owner); err != nil {
			return nil, err
		}
	}
	i.Revision, i.Created, i.Updated = s.t.meta.Index, firstTime(old.Created, s.t.meta.Time), s.t.meta.Time
	s.putImage(&i)
	return []string{string(i.ID)}, nil
}

func (s *State) deleteImage(o *DeleteImage) ([]string, *Error) {
	i, ok := s.t.images.Get(o.ID)
	if !ok {
		return nil, missing("Image", string(o.ID))
	}
	if i.Protected {
		return nil, Errorf(Forbidden, "Image %s is protected and cannot be deleted.", o.ID)
	}
	for in := range values(&s.t.instances) {
		of := in.Spec.Image == o.ID || in.Spec.Boot.Kernel == o.ID || in.Spec.Boot.Ramdisk == o.ID
		if of && in.Status.VM == VMBuilding && in.Wanted != WantDeleted {
			return nil, Errorf(Conflict, "Image %s could not be deleted because it is in use: instance %s is being built from it", o.ID, in.ID)
		}
	}
	s.dropImage(i)
	return []string{string(o.ID)}, nil
}

func (s *State) addImageNode(o *AddImageNode) ([]string, *Error) {
	old, ok := s.t.images.Get(o.ID)
	if !ok {
		return nil, missing("Image", string(o.ID))
	}
	if _, ok := s.t.nodes.Get(o.Node); !ok {
		return nil, missing("Node", string(o.Node))
	}
	if old.Data == nil || old.Data.Root != o.Root {
		return nil, Errorf(Stale, "Image %s has other data now", o.ID)
	}
	s.setImageNode(old, o.Node, !o.Gone)
	return []string{string(o.ID)}, nil
}

// setImageNode records whether a node holds an image's data.
func (s *State) setImageNode(old *Image, id NodeID, held bool) {
	at, there := slices.BinarySearch(old.Data.Nodes, id)
	if there == held {
		return
	}
	i := old.Clone()
	if held {
		i.Data.Nodes = slices.Insert(i.Data.Nodes, at, id)
	} else {
		i.Data.Nodes = slices.Delete(i.Data.Nodes, at, at+1)
	}
	i.Revision = s.t.meta.Index
	s.putImage(i)
}

// withdrawImages strikes a node that is removed from the holders of every image.
func (s *State) withdrawImages(id NodeID) {
	var held []*Image
	for i := range values(&s.t.images) {
		if i.Data != nil {
			held = append(held, i)
		}
	}
	for _, i := range held {
		s.setImageNode(i, id, false)
	}
}

func checkImage(i *Image) *Error {
	if err := firstOf(
		checkID("Image", i.ID),
		checkOptionalID("Project", i.Owner),
		checkText("The image's name", i.Name),
		oneOf("Image status", i.Status, ImageQueued, ImageSaving, ImageActive, ImageDeactivated, ImageKilled),
		oneOf("Image visibility", i.Visibility, Public, Private, Shared, Community),
		checkText("The disk format", i.Format.Disk),
		checkText("The container format", i.Format.Container),
		checkAmount("min_disk", i.Format.MinDiskGiB, 0, maxAmount),
		checkAmount("min_ram", i.Format.MinRAMMiB, 0, maxAmount),
		checkTexts("The image's tags", i.Tags, maxListed, maxText),
		checkMap("The image's properties", i.Properties, maxProperties, maxLongText),
		checkMap("The image's members", i.Members, maxListed, maxText),
	); err != nil {
		return err
	}
	if d := i.Data; d != nil {
		if d.Size < 0 || d.VirtualSize < 0 || d.Root.IsZero() {
			return Errorf(Invalid, "The image's data has no root or a negative size")
		}
		if !slices.IsSorted(d.Nodes) || len(slices.Compact(slices.Clone(d.Nodes))) != len(d.Nodes) {
			return Errorf(Invalid, "The nodes that hold an image must be sorted and differ")
		}
	} else if _, mapped := i.Mapping(); !mapped && (i.Status == ImageActive || i.Status == ImageDeactivated) {
		return Errorf(Invalid, "An image without data cannot be %s", i.Status)
	}
	return nil
}

func (s *State) saveFlavor(o *PutFlavor) ([]string, *Error) {
	f := o.Flavor
	old, exists := lookup(&s.t.flavors, f.ID)
	if err := checkFlavor(&f); err != nil {
		return nil, err
	}
	if exists && f.Revision == 0 {
		return nil, Errorf(Conflict, "Flavor with ID %s already exists.", f.ID)
	}
	if err := revised("Flavor", string(f.ID), f.Revision, old.Revision, exists); err != nil {
		return nil, err
	}
	if id, ok := s.t.flavorByName.Get(f.Name); ok && id != f.ID {
		return nil, Errorf(Conflict, "Flavor with name %s already exists.", f.Name)
	}
	f.Revision, f.Created = s.t.meta.Index, firstTime(old.Created, s.t.meta.Time)
	s.putFlavor(&f)
	return []string{string(f.ID)}, nil
}

func (s *State) deleteFlavor(o *DeleteFlavor) ([]string, *Error) {
	f, ok := s.t.flavors.Get(o.ID)
	if !ok {
		return nil, missing("Flavor", string(o.ID))
	}
	s.dropFlavor(f)
	return []string{string(o.ID)}, nil
}

func checkFlavor(f *Flavor) *Error {
	if !(f.RxTxFactor >= 0 && f.RxTxFactor <= maxAmount) { // NaN is neither
		return Errorf(Invalid, "rxtx_factor is not valid")
	}
	return firstOf(
		checkName("The flavor's ID", string(f.ID)),
		checkName("The flavor's name", f.Name),
		checkLines("The flavor's description", f.Description, maxLongText),
		checkAmount("vcpus", f.VCPUs, 1, maxAmount),
		checkAmount("ram", f.MemoryMiB, 1, maxAmount),
		checkAmount("disk", f.DiskGiB, 0, maxAmount),
		checkAmount("ephemeral", f.Ephemeral, 0, maxAmount),
		checkAmount("swap", f.SwapMiB, 0, maxAmount),
		checkTexts("The flavor's projects", f.Access, maxListed, maxID),
		checkMap("The flavor's extra specs", f.ExtraSpecs, maxProperties, maxText),
	)
}

func (s *State) createKeyPair(o *CreateKeyPair) ([]string, *Error) {
	k := o.KeyPair
	if err := firstOf(
		checkName("The key pair's name", k.Name),
		checkText("The key pair's type", k.Type),
		checkLines("The public key", k.PublicKey, maxLongText),
		checkText("The fingerprint", k.Fingerprint),
	); err != nil {
		return nil, err
	}
	if _, ok := s.t.users.Get(k.User); !ok {
		return nil, missingUser(k.User)
	}
	if _, ok := s.t.keyPairs.Get(keyPairKey(k.User, k.Name)); ok {
		return nil, Errorf(Conflict, "Key pair '%s' already exists.", k.Name)
	}
	var n int64
	for range prefixed(&s.t.keyPairs, string(k.User)+sep) {
		n++
	}
	if limit := s.t.userLimit(o.Project, o.KeyPair.User, QuotaKeyPairs); limit != Unlimited && n >= limit {
		return nil, Errorf(OverQuota, "Quota exceeded, too many key pairs.")
	}
	s.t.meta.KeyPairCount++
	k.Number, k.Created = s.t.meta.KeyPairCount, s.t.meta.Time
	s.putKeyPair(&k)
	return []string{k.Name}, nil
}

func (s *State) deleteKeyPair(o *DeleteKeyPair) ([]string, *Error) {
	k, ok := s.t.keyPairs.Get(keyPairKey(o.User, o.Name))
	if !ok {
		return nil, Errorf(NotFound, "Keypair %s not found for user %s", o.Name, o.User)
	}
	s.dropKeyPair(k)
	return []string{k.Name}, nil
}
