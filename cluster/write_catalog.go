package cluster

func (s *State) putImage(i *Image) {
	if old, ok := s.t.images.Set(i.ID, i); ok {
		s.use(old.Owner, Usage{Images: -1})
	}
	s.use(i.Owner, Usage{Images: 1})
}

func (s *State) dropImage(i *Image) {
	s.t.images.Delete(i.ID)
	s.use(i.Owner, Usage{Images: -1})
}

func (s *State) putFlavor(f *Flavor) {
	var name string
	if old, ok := s.t.flavors.Set(f.ID, f); ok {
		name = old.Name
	}
	reindex(&s.t.flavorByName, name, f.Name, f.ID)
}

func (s *State) dropFlavor(f *Flavor) {
	s.t.flavors.Delete(f.ID)
	reindex(&s.t.flavorByName, f.Name, "", f.ID)
}

func keyPairKey(u UserID, name string) string { return key(string(u), name) }

func (s *State) putKeyPair(k *KeyPair)  { s.t.keyPairs.Set(keyPairKey(k.User, k.Name), k) }
func (s *State) dropKeyPair(k *KeyPair) { s.t.keyPairs.Delete(keyPairKey(k.User, k.Name)) }

// use adds to what a project uses. A project that uses nothing has no entry.
func (s *State) use(p ProjectID, more Usage) {
	u, _ := s.t.usage.Get(p)
	u.Instances += more.Instances
	u.Resources = u.Add(more.Resources)
	u.Networks += more.Networks
	u.Subnets += more.Subnets
	u.Ports += more.Ports
	u.Images += more.Images
	u.Volumes += more.Volumes
	u.Snapshots += more.Snapshots
	u.GiB += more.GiB
	if u == (Usage{}) {
		s.t.usage.Delete(p)
		return
	}
	s.t.usage.Set(p, u)
}
