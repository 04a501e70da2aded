// Package configdrive makes the OpenStack config drive: the small read-only disk, labelled config-2, on which
// a guest finds who it is.
//
// Files is pure: it renders the metadata of one guest into the files that Nova would give it, in every dated
// version of the format and under "latest". Image packs such files into an ISO 9660 image with Rock Ridge and
// Joliet names, so that Linux, BSD and Windows guests all see the long lower-case names that cloud-init and
// cloudbase-init look for. WriteISO puts the image on disk in one step.
//
// What it promises: the same Meta gives the same files, byte for byte; a crash never leaves a half-written
// drive under the final name; nothing of the contents (passwords, user data) appears in an error.
//
// What it relies on: user data was decoded and its size was checked by the API.
//
// Concurrency: the functions hold no state. Two WriteISO calls for one path must not overlap.
//
// Testing: golden files in testdata hold the rendered JSON (go test -update writes them). The ISO is read back
// in pure Go, and loop-mounted when the test runs as root.
package configdrive
