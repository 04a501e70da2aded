package cluster

import (
	"errors"
	"fmt"
)

// Code classifies an error for whoever has to answer it. Codes cross the wire between nodes, so their text is
// fixed. One table in httpapi/rest maps them to HTTP.
type Code string

// The codes, and what a client can do about each.
const (
	Invalid      Code = "invalid"      // mend the request
	Unauthorized Code = "unauthorized" // authenticate (again)
	Forbidden    Code = "forbidden"    // ask for a role
	NotFound     Code = "not_found"    // it is not there, or not the caller's
	Conflict     Code = "conflict"     // the thing is in a state that does not allow it, or exists already
	Stale        Code = "stale"        // decided against an old revision: read again and retry
	OverQuota    Code = "over_quota"   // free something, or ask for more
	NoRoom       Code = "no_room"      // no node, address or other resource is free
	TooLarge     Code = "too_large"    // the body exceeds a limit
	Unsupported  Code = "unsupported"  // the hypervisor or the guest cannot do it
	Unavailable  Code = "unavailable"  // outcome unknown or service not ready: retry under the same request ID
	Internal     Code = "internal"     // a fault of ours
)

// Error is a refusal: a code and a sentence for the user. It crosses the wire; wrapped errors do not.
type Error struct {
	Code    Code   `json:"code"`
	Message string `json:"message"`
}

// Error gives the message.
func (e *Error) Error() string { return e.Message }

// Errorf makes a refusal.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// CodeOf finds the code of err, or Internal when it carries none.
func CodeOf(err error) Code {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return Internal
}
