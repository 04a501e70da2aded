// Package network serves the part of OpenStack's Networking API v2.0 that Kilonova has: networks, subnets, ports, quotas.
//
// A network is a provider network of type flat: on every node, the Linux bridge that the node's configuration names for
// the network's physical label. There is no DHCP; guests learn their addresses from the config drive. Routers, floating
// IPs and security groups are not served, and the list of extensions says so.
//
// What it relies on: names and limits are checked again, and addresses are chosen, when a command is applied.
//
// Concurrency: safe for concurrent use.
package network
