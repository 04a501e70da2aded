// Package failpoint lets a test make a process fail at a named place in its code.
//
// The environment variable KILONOVA_FAILPOINTS says what is to happen where, as NAME=ACTION, several with semicolons or line
// ends between them. The actions are kill (the process ends at once, as by a power cut), error (Hit returns one),
// sleep:DURATION, and wait:FILE, which makes the file and goes on when somebody has removed it: meanwhile the test can do to
// the rest of the world what it likes. An action with a number before it, as in 2*kill, happens at that hit of the place alone,
// counted from 1. NAME@SCOPE is the place only where it is come by for the sake of one thing, an instance say: see Within.
// *=trace:FILE appends a line to the file whenever a place is come by: its name and the scopes.
//
// A variable that is @FILE names a file with all that, which is read again whenever it was replaced. So a test changes what
// happens where without starting the process anew. A place that stays as it was goes on counting its hits.
//
// What it promises: without the variable a Hit costs one load of a pointer and does nothing. A variable, or a file, that cannot
// be read stops the process at its next Hit, so that no test passes because of a slip of the pen.
//
// Concurrency: all functions are safe for concurrent use.
//
// Testing: Set replaces what the environment said.
package failpoint
