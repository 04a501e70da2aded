// Package rest is what the OpenStack services of Kilonova share: who calls, what was sent, what goes back.
//
// A handler decodes, proposes and replies:
//
//	req, err := rest.DecodeStrict[createRequest](r)    // bounded in size and depth before it is parsed
//	res, err := rest.Change(r, s.backend, &cluster.PutFlavor{...})
//	view, err := rest.View(r, s.backend)               // holds what Change did
//	rest.Reply(w, http.StatusOK, render(view, res))
//
// Every error leaves through the Fail of the service's error shape (NovaErrors, KeystoneErrors, GlanceErrors,
// NeutronErrors), which gives it the status of its code, from the one table in status.go. An error that has no
// code is a fault of ours: it is logged with the request ID, and the client sees only that ID.
//
// Around a service stand, from the outside in: RequestID, AccessLog and Recover, which Service puts together, and
// Authenticate around the routes that need a token.
//
// One request sees one linearizable view: Authenticate takes it, View gives the same one again, and after a Change
// View gives one that holds that change. A request that asks for stale reads is given this node's latest view,
// whatever its age.
//
// A client may send an Idempotency-Key. Then the commands of the request get IDs that are the same over all its
// retries, and the state remembers their results. A handler that makes something must therefore show what
// Result.IDs names, not the ID that it proposed.
//
// What it relies on: a Backend that reads and changes the cluster's state. It knows no node, no Raft and no
// libvirt.
//
// Concurrency: everything here is safe for concurrent use; a Caller is not changed after it was made. What is
// remembered of one request (its view, its caller, the digest of its body) belongs to the goroutine that serves it.
//
// Testing: httptest, and package resttest for a Backend in memory.
package rest
