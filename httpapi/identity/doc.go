// Package identity is Keystone v3: tokens, users, projects, roles, application credentials and the catalog.
//
// Tokens are signed with the cluster's Ed25519 keys and hold who, where and until when, but not what their holder may
// do: that is looked up in the state whenever a token is used. A token is therefore void as soon as its user,
// project, application credential or last role is gone, its user has a new password, or it or a token that it was made from
// was revoked, and every node agrees on that without asking another one.
//
// A token made from a token never lives longer than that one. One made from an application credential never has more
// than the credential's roles in the credential's project.
//
// Passwords are kept as argon2id PHC strings. At most two are hashed at a time, few wait, and a user that does not exist
// takes as long to refuse as a wrong password. Failed logins are limited for each user and client address.
//
// There is one domain, "default", and no groups: clients that list them find that, and making more is answered with
// 501. The catalog names the address under which the client reached this node.
//
// What it relies on: rest.Backend for reading and changing the state.
//
// Concurrency: all exported functions and methods are safe for concurrent use.
//
// Testing: handlers in process, over resttest's Backend; the recorded shapes that they must have are in testdata.
package identity
