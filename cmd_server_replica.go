package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/servers"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/clusterapi"
)

// replicaOf says where the copy of a server's disk is and what it is good for. "": it asks for none, or the user is no administrator, who alone are told
// where things are. OpenStack has no word for it, so the cluster's own API is asked, at the node that serves the compute API.
func (c *cloud) replicaOf(ctx context.Context, s servers.Server) (string, error) {
	compute, err := c.compute()
	if err != nil {
		return "", err
	}
	at, err := url.Parse(compute.Endpoint)
	if err != nil {
		return "", err
	}
	at.Path = "/cluster/v1/instances/" + s.ID + "/replica"
	var out clusterapi.Copies
	res, err := compute.Get(ctx, at.String(), &out, &gophercloud.RequestOpts{OkCodes: []int{http.StatusOK}})
	_, _, err = gophercloud.ParseResponse(res, err)
	var refusal *refused
	if err = doing("look at the replica of "+s.ID, err); errors.As(err, &refusal) && (refusal.status == http.StatusForbidden || refusal.status == http.StatusNotFound) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return replicaText(&out), nil
}

func replicaText(c *clusterapi.Copies) string {
	r := c.Replica
	switch {
	case r == nil && c.Asked:
		return "none yet"
	case r == nil:
		return ""
	case r.State == cluster.ReplicaStale && r.Why != "":
		return fmt.Sprintf("%s on %s: %s", r.State, r.Node, r.Why)
	}
	return fmt.Sprintf("%s on %s", r.State, r.Node)
}
