package cluster

// checkCreate refuses a create for every reason that has nothing to do with ports.
func (s *State) checkCreate(o *CreateInstances) *Error {
	if err := firstOf(
		s.checkProjectIs(o.Project),
		checkID("User", o.User),
		checkText("The request", o.Request),
		checkAmount("The number of instances", int64(len(o.Items)), 1, maxNewInstances),
		checkSpec(&o.Spec),
		s.checkImageIs(o.Spec.Image),
		s.checkImageIs(o.Spec.Boot.Kernel),
		s.checkImageIs(o.Spec.Boot.Ramdisk),
		s.checkMetadataQuota(o.Project, o.Spec.Metadata),
		s.checkUserMetadata(o.Project, o.User, o.Spec.Metadata),
	); err != nil {
		return err
	}
	seen := make(map[InstanceID]bool, len(o.Items))
	for i := range o.Items {
		item := &o.Items[i]
		if err := s.checkItem(item); err != nil {
			return err
		}
		if seen[item.ID] || s.wasInstance(item.ID) {
			return Errorf(Conflict, "Instance %s exists already", item.ID)
		}
		seen[item.ID] = true
	}
	n, each := int64(len(o.Items)), o.Spec.Resources()
	return firstOf(
		s.checkGroup(o),
		s.checkComputeQuota(o.Project, n, each),
		s.checkUserQuota(o.Project, o.User, n, each),
	)
}

// wasInstance tells whether an instance of that ID is or was there, or a port was given to one.
func (s *State) wasInstance(id InstanceID) bool {
	if _, ok := s.t.instances.Get(id); ok {
		return true
	}
	if _, ok := s.t.deletedID.Get(id); ok {
		return true
	}
	for range prefixed(&s.t.portOfDevice, string(id)+sep) {
		return true
	}
	return false
}

// checkImageIs refuses what is made from an image that is not there or cannot be used. An empty ID names none.
func (s *State) checkImageIs(id ImageID) *Error {
	if id == "" {
		return nil
	}
	i, ok := s.t.images.Get(id)
	if !ok {
		return Errorf(Invalid, "Can not find requested image")
	}
	if i.Status != ImageActive || i.Data == nil {
		return Errorf(Invalid, "Image %s is not active.", id)
	}
	return nil
}

func (s *State) checkMetadataQuota(p ProjectID, m map[string]string) *Error {
	if err := tooManyItems(s.limit(p, QuotaMetadataItems), m); err != nil {
		return err
	}
	return checkMap("The metadata", m, maxListed, maxText)
}

// checkMoreMetadata is checkMetadataQuota for a change: what was there before stays allowed.
func (s *State) checkMoreMetadata(p ProjectID, m, had map[string]string) *Error {
	if len(m) <= len(had) {
		return checkMap("The metadata", m, maxListed, maxText)
	}
	return s.checkMetadataQuota(p, m)
}

// checkUserMetadata is checkMetadataQuota for a user who may have less than the project.
func (s *State) checkUserMetadata(p ProjectID, u UserID, m map[string]string) *Error {
	return tooManyItems(s.t.userLimit(p, u, QuotaMetadataItems), m)
}

func tooManyItems(limit int64, m map[string]string) *Error {
	if limit != Unlimited && int64(len(m)) > limit {
		return Errorf(OverQuota, "Maximum number of metadata items exceeds %d", limit)
	}
	return nil
}

func (s *State) checkItem(item *NewInstance) *Error {
	if err := firstOf(
		checkID("Instance", item.ID),
		checkName("The instance's name", item.Name),
		checkText("The host name", item.Hostname),
		checkOptionalID("Node", item.Node),
		checkAmount("The number of ports", int64(len(item.Ports)), 0, maxPortsPerInstance),
		checkExplanation(item.Explanation),
	); err != nil {
		return err
	}
	for i := range item.Ports {
		np := &item.Ports[i]
		if (np.New == nil) == (np.Existing == "") {
			return Errorf(Invalid, "A port of a new instance is either an existing one or a new one")
		}
		if np.New != nil {
			if err := checkPort(np.New); err != nil {
				return err
			}
		}
	}
	return checkNewVolumes(item.Volumes)
}

func checkExplanation(e *Explanation) *Error {
	if e == nil {
		return nil
	}
	return firstOf(
		checkTexts("The reasons", e.Reasons, maxReasons, maxPropertyLen),
		checkAmount("The number of filters", int64(len(e.Removed)), 0, maxReasons),
		checkAmount("The number of scores", int64(len(e.Scores)), 0, maxReasons),
	)
}

func checkSpec(p *Spec) *Error {
	if len(p.UserData) > maxUserData {
		return Errorf(Invalid, "The user data is longer than %d bytes", maxUserData)
	}
	return firstOf(
		checkFlavor(&p.Flavor),
		checkLines("The description", p.Description, maxText),
		checkText("The key's name", p.KeyName),
		checkLines("The public key", p.PublicKey, maxLongText),
		checkTexts("The tags", p.Tags, maxTags, maxTagLength),
		checkText("The admin password", p.AdminPass),
		checkText("The zone", p.Scheduling.Zone),
		checkText("The host", p.Scheduling.Host),
		checkMap("The scheduler hints", p.Scheduling.Hints, maxProperties, maxLongText),
		checkOptionalID("Server group", p.Scheduling.Group),
		checkOptionalAddress("accessIPv4", p.Access[0]),
		checkOptionalAddress("accessIPv6", p.Access[1]),
		oneOf("Disk config", p.DiskConfig, "", "AUTO", "MANUAL"),
		checkLocked(p.Locked),
		checkText("The lock's reason", p.LockReason),
		checkMap("The image's properties", p.Boot.Properties, maxProperties, maxLongText),
		checkAmount("min_disk", p.Boot.MinDiskGiB, 0, maxAmount),
	)
}

func checkLocked(who string) *Error { return oneOf("Who locked", who, "", "owner", "admin") }
