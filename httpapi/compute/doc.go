// Package compute serves OpenStack's compute API, Nova v2.1 with the microversions 2.1 to 2.96.
//
// What a user asks for here is a server; the cluster calls it an instance. Handlers read a view of the replicated
// state, check what was asked in Nova's own words (package schema), and propose one command; they keep nothing between
// requests. routes.go is the table of all paths with the policy rule and the microversions of each, actions.go that of
// the server actions. Each resource has its own file.
//
// It promises Nova's paths, status codes, bodies and error texts, so that clients made for Nova work unchanged. A 202
// or 200 for a change is sent only after the change was committed. What another project owns is 404. What Kilonova does
// not do is refused with a sentence that says so, never accepted and ignored.
//
// It differs from Nova in that user_data that is not base64 is refused, and in that a page of servers costs the same
// wherever it is.
//
// It relies on a rest.Backend for the state, and on the two small interfaces of Config for what the state does not hold:
// which nodes are alive, and what a guest wrote to its console.
//
// Concurrency: a Router serves any number of requests at once and starts no goroutines.
//
// Testing: the handlers run in process against the Backend of package resttest. The files in testdata are the shapes
// (members and their types) of a real Nova's answers.
package compute
