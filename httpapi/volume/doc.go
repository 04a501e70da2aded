// Package volume serves OpenStack's Block Storage API v3 (Cinder), as far as the openstack client, gophercloud, Terraform and Nova's
// users need it: volumes, snapshots, attachments, types, quotas and limits, with microversions 3.0 to 3.70. Replies have the shapes of
// those versions; what there is none of (backups, transfers, groups, consistency groups, quality of service) is an empty list, and
// making one is refused.
//
// It decodes, checks and renders; everything that is promised is decided in cluster's Apply, and done by the nodes. Volume types are
// fixed: they say what nodes can do. A volume without a file is available at once, and gets its file on the node of the first instance
// that it is attached to.
//
// Handlers are safe for concurrent use. Tests run against rest/resttest and compare with recorded replies of Cinder.
package volume
