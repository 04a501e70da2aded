// Package failpoint lets a test make a process fail at a named place in its code.
//
// The environment variable KILONOVA_FAILPOINTS says what is to happen where, as NAME=ACTION, several with semicolons between
// them. The actions are kill (the process ends at once, as by a power cut), error (Hit returns one), sleep:DURATION, and
// wait:FILE, which makes the file and goes on when somebody has removed it: meanwhile the test can do to the rest of the world
// what it likes. An action with a number before it, as in 2*kill, happens at that hit of the place alone, counted from 1.
//
// What it promises: without the variable a Hit costs one load of a pointer and does nothing. A variable that cannot be read
// stops the process at its first Hit, so that no test passes because of a slip of the pen.
//
// Concurrency: Hit is safe for concurrent use.
//
// Testing: Set replaces what the environment said.
package failpoint
