package cluster

// expired tells whether the token's time is over. A token without an expiry does not expire.
func (t *JoinToken) expired(now Time) bool { return t.Expires != 0 && now >= t.Expires }

func (s *State) addJoinToken(o *PutJoinToken) ([]string, *Error) {
	t := o.Token
	if err := firstOf(
		checkID("Join token", t.ID),
		checkAmount("The uses of a join token", int64(t.Uses), 1, maxJoinUses),
		checkText("The zone", t.Zone),
	); err != nil {
		return nil, err
	}
	if t.Hash.IsZero() {
		return nil, Errorf(Invalid, "A join token needs the hash of its secret")
	}
	if _, ok := s.t.joinTokens.Get(t.ID); ok {
		return nil, Errorf(Conflict, "Join token %s exists already", t.ID)
	}
	s.forgetJoinTokens()
	t.Revision, t.Created = s.t.meta.Index, s.t.meta.Time
	s.t.joinTokens.Set(t.ID, &t)
	return []string{string(t.ID)}, nil
}

// forgetJoinTokens drops tokens that expired a good while ago.
func (s *State) forgetJoinTokens() {
	var old []TokenID
	s.t.joinTokens.Scan(func(id TokenID, t *JoinToken) bool {
		if t.Expires != 0 && s.t.meta.Time.Sub(t.Expires) > tokenMemory {
			old = append(old, id)
		}
		return true
	})
	for _, id := range old {
		s.t.joinTokens.Delete(id)
	}
}

func (s *State) deleteJoinToken(o *DeleteJoinToken) ([]string, *Error) {
	if _, ok := s.t.joinTokens.Delete(o.ID); !ok {
		return nil, missing("Join token", string(o.ID))
	}
	return []string{string(o.ID)}, nil
}

func checkAuthority(a *Authority) *Error {
	if len(a.GossipKeys) > maxSigningKey || len(a.TokenKeys) > maxSigningKey {
		return Errorf(Invalid, "An authority has at most %d keys of each sort", maxSigningKey)
	}
	return checkID("Cluster", a.ClusterID)
}

func checkNode(n *Node) *Error {
	c := &n.Capacity
	for _, a := range []struct {
		what    string
		n, most int64
	}{
		{"vCPUs", c.VCPUs, maxAmount}, {"memory", c.MemoryMiB, maxAmount}, {"disk", c.DiskGiB, maxAmount},
		{"vCPU ratio", c.VCPURatio, maxRatio}, {"memory ratio", c.MemoryRatio, maxRatio}, {"disk ratio", c.DiskRatio, maxRatio},
		{"reserved vCPUs", c.ReservedVCPUs, maxAmount}, {"reserved memory", c.ReservedMemoryMiB, maxAmount},
		{"reserved disk", c.ReservedDiskGiB, maxAmount},
	} {
		if err := checkAmount("The node's "+a.what, a.n, 0, a.most); err != nil {
			return err
		}
	}
	return firstOf(
		checkID("Node", n.ID),
		checkName("The node's name", n.Name),
		checkAddress("The node's address", n.Address),
		checkText("The zone", n.Zone),
		oneOf("Voter preference", n.Voter, "", VoterAuto, VoterNever, VoterPrefer),
		checkMap("The node's bridges", n.Bridges, maxBridges, maxText),
		checkTexts("The node's open networks", n.Open, maxBridges, maxText),
		checkTexts("The node's traits", n.Host.Traits, maxListed, maxText),
		checkTexts("The node's quarantine", n.Host.Quarantine, maxListed, maxText),
		checkLines("The node's trouble", n.Host.Trouble, maxPropertyLen),
		checkText("The node's version", n.Version),
		checkText("The hypervisor type", n.Host.Type),
		checkText("The confinement", n.Host.Confinement),
		checkText("The CPU architecture", n.Host.Arch),
		checkText("The CPU model", n.Host.CPUModel),
		checkText("The CPU vendor", n.Host.CPUVendor),
	)
}
