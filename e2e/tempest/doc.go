// Command tempest holds a cluster against Tempest, OpenStack's own suite of tests.
//
// It makes a cluster of three nodes with simulated hypervisors on loopback addresses, gives it what Tempest asks of a cloud
// (two images, two flavors, a shared network), writes tempest.conf, runs the tests that a regular expression chooses, and
// compares what came out with expected.txt: the failures that are known, each with its reason. The comparison goes both ways:
// a test that fails without being in the list is a fault, and so is one of the list that passes. Each of the workers that run tests at the
// same time asks another node: the first leads, the others do not.
//
// "e2e/tempest/run REGEX" installs what is missing and runs it; without an expression all tests of the services that
// Kilonova has are run. What Tempest may not expect at all (routers, backups of volumes) is switched off in tempest.conf, as
// every cloud does, and then Tempest skips those tests itself.
//
// It relies on Debian's python3-tempest (scripts/deps installs it) and on a kilonova program that was built before. It needs
// no root, and leaves nothing behind but, after a failure, Tempest's own log.
//
// To test it, run "KILONOVA_BIN=$PWD/bin/kilonova go test ./e2e/tempest": it runs a subset that touches every service, in
// less than three minutes. Without the program or Tempest only the parts that need neither are tested.
package main
