// Package cloud brings a Kilonova cluster up on the hosts of a lab, as an operator would: the kilonova program,
// "node init", "node token create", "node join". End-to-end tests and "make run" share it.
//
// Everything goes through what users have: the program's command line, clouds.yaml, the stock openstack client on
// the machine outside the hosts, and HTTPS with the cluster's own CA. So what it can do is a test by itself.
//
// It promises that Close removes everything, also after an Up that went wrong half way.
//
// It relies on package lab, and on a kilonova program that was built before (Options.Binary).
//
// Concurrency: methods may be called from several goroutines, except that the daemon of one node is started and
// killed by one at a time.
//
// To test it, run "go test ./e2e/cloud" as root with KILONOVA_BIN set to the program.
package cloud
