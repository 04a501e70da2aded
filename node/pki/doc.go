// Package pki is the cluster's certificate authority and the certificates of its nodes.
//
// `node init` makes one authority per cluster. Every node has two certificates from it: one with role peer, for
// the peer port, and one with role api, for the API's HTTPS. Cluster ID, role and node ID stand in a URI in the
// certificate (kilonova://<cluster>/<role>/<node>), so a certificate is good for one cluster, one role and one node,
// whatever its address is. Keys are ECDSA P-256, made on the node that uses them; only signing requests travel.
//
// The authority can be replaced: for a while two are trusted, and the order of things is the state's (cluster.Rotation). A join token pins the
// authority that there was when it was made; a machine says its pin in the handshake, and is shown a certificate of that one.
//
// What it promises: VerifyPeer accepts nothing but a certificate of the given authority and role. Whether the node
// is still a member is asked of the caller, because it changes.
//
// Concurrency: an Authority is read-only and safe for concurrent use.
package pki
