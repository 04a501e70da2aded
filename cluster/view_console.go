package cluster

import "iter"

// ConsoleToken finds a console token by its hash, used ones included until their time is over.
func (v *View) ConsoleToken(h Hash) (*ConsoleToken, bool) {
	t, ok := v.t.consoleTokens.Get(consoleKey(h))
	if !ok || t.expired(v.Time()) {
		return nil, false
	}
	return t, true
}

// ConsoleTokensOf yields the console tokens of an instance, oldest first.
func (v *View) ConsoleTokensOf(id InstanceID) iter.Seq[*ConsoleToken] {
	return resolved(&v.t.consoleOf, &v.t.consoleTokens, string(id)+sep)
}

// ConsoleAllowed tells whether a session with a console token may go on. Unauthorized when the token's time is over; NotFound or
// Conflict when the instance is gone, moved or off; Forbidden when who asked for it has lost the right.
func (v *View) ConsoleAllowed(h Hash) *Error {
	t, ok := v.ConsoleToken(h)
	if !ok {
		return errConsoleToken
	}
	return v.t.consoleAllowed(t)
}
