package node

import (
	"context"
	"time"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/node/pki"
)

// mint makes join tokens. It implements clusterapi.Minter.
type mint struct{ agreement *agreement }

// Mint implements clusterapi.Minter. Only the hash of the secret goes into the state.
func (m mint) Mint(ctx context.Context, uses int, life time.Duration, zone string) (string, cluster.JoinToken, error) {
	view, err := m.agreement.Read(ctx)
	if err != nil {
		return "", cluster.JoinToken{}, err
	}
	au := view.Authority()
	if au == nil {
		return "", cluster.JoinToken{}, cluster.Errorf(cluster.Unavailable, "this node has not caught up with the cluster yet: try again")
	}
	authority, err := pki.ParseAuthority(au.CACert, nil)
	if err != nil {
		return "", cluster.JoinToken{}, err
	}
	secret := pki.NewJoinToken(authority)
	now := time.Now()
	token := cluster.JoinToken{
		ID: secret.ID, Hash: secret.SecretHash(), Uses: uses, Zone: zone,
		Created: cluster.At(now), Expires: cluster.At(now.Add(life)),
	}
	if _, err := m.agreement.Propose(ctx, cluster.Command{Time: cluster.At(now), Op: &cluster.PutJoinToken{Token: token}}); err != nil {
		return "", cluster.JoinToken{}, err
	}
	return secret.String(), token, nil
}
