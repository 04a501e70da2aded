// Package clusterapi is Kilonova's own API, for what OpenStack has no words for: nodes, join tokens, and why an instance
// went where it went.
//
//	GET    /cluster/v1                            the cluster and the node that answers
//	GET    /cluster/v1/state                      the digest of the state at one index, and what in it contradicts itself
//	GET    /cluster/v1/nodes[/{node}]             nodes, by name or ID
//	POST   /cluster/v1/nodes/{node}/drain         takes no new instances, and those that it has leave, and copies of disks
//	POST   /cluster/v1/nodes/{node}/undrain
//	DELETE /cluster/v1/nodes/{node}[?force=true]  for good
//	GET    /cluster/v1/nodes/{node}/removal       what would go on elsewhere without it, and what would be lost
//	GET    /cluster/v1/tokens                     join tokens, without their secrets
//	POST   /cluster/v1/tokens                     {"uses": 1, "ttl": "1h", "zone": ""} -> 201 {"token": "kn1..."}
//	DELETE /cluster/v1/tokens/{id}
//	GET    /cluster/v1/keys                       how far the rotations of the gossip key and of the authority are
//	POST   /cluster/v1/keys/{keys}/rotate         gossip or authority: {"keep": "24h", "force": false}
//	GET    /cluster/v1/instances/{id}/placement   how the node was chosen
//
// Router serves it to administrators with a token; LocalRouter serves it without one on a socket that only root can
// open, so that `kilonova node ...` works on every node without a password. Errors have Nova's shape, times that of RFC 3339.
//
// Concurrency: safe for concurrent use.
package clusterapi
