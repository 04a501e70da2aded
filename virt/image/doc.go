// Package image looks into images that users bring, before any other program touches them.
//
// An image can name other files (a backing file, a data file, extents), which would give a user the node's own
// files to read; it can claim to be raw and be something else, which a later guess of the format would fall
// for; and it can be made to cost its reader memory and time without bound. Inspect says what the bytes are,
// and Check whether they may be used as what they claim to be. The checks are those of OpenStack's image
// format inspector and more; each format's file names its specification.
//
// What it promises: Inspect reads only headers and tables whose size it bounds, never follows a name that it
// finds, and does not panic on any input. Check accepts an image only if nothing else claims the same bytes.
//
// What it relies on: nothing but the bytes. What was checked has to be what is used: images are kept by their
// hash (package chunk), and formats are named to every later program.
//
// Concurrency: the functions keep nothing and may be called from anywhere.
package image
