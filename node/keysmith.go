package node

import (
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/gossip"
	"github.com/kilonova/kilonova/node/pki"
)

// keysmith makes new keys for the cluster. It implements clusterapi.Keysmith.
type keysmith struct{}

// NewKeys implements clusterapi.Keysmith.
func (keysmith) NewKeys(which cluster.Keyset, clusterID string) (*cluster.BeginRotation, error) {
	op := &cluster.BeginRotation{Keys: which}
	switch which {
	case cluster.KeysGossip:
		op.GossipKey = randomBytes(gossip.KeySize)
	case cluster.KeysAuthority:
		a, err := pki.NewAuthority(clusterID, time.Now())
		if err != nil {
			return nil, err
		}
		key, err := a.KeyPKCS8()
		if err != nil {
			return nil, err
		}
		op.Authority = &cluster.AuthorityPair{Cert: a.CertDER(), Key: key}
	default:
		return nil, cluster.Errorf(cluster.NotFound, "There are no keys called %.80q", string(which))
	}
	return op, nil
}
