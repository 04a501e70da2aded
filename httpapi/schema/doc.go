// Package schema checks request bodies and query parameters as Nova does: against a JSON schema, with errors in the
// words that clients know, for instance
//
//	Invalid input for field/attribute name. Value: . '' is too short
//
// Those words are Python's, so values appear as Python would print them. Long values are cut, and passwords are never
// repeated.
//
// Parse turns a body into a tree that remembers the order of the members. Its caller has bounded the body's size and
// depth. Schema.Check then finds the first thing wrong. Both are pure and safe for concurrent use; a Schema is not
// changed after it was made.
//
// It knows the part of JSON Schema (draft 4) that the compute API needs, and no more.
package schema
