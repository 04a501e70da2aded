package schema

import (
	"encoding/json"

	"github.com/kilonova/kilonova/cluster"
)

// malformed is what Nova and Cinder say of a body that cannot be read at all.
const malformed = "Malformed request body"

// Into checks a body against a schema and reads it into a type that may then trust it. What is wrong is a refusal (Invalid) in
// the words that clients know.
func Into[T any](raw json.RawMessage, s *Schema) (T, error) {
	var v T
	tree, err := Parse(raw)
	if err != nil {
		return v, cluster.Errorf(cluster.Invalid, malformed)
	}
	if wrong := s.Check(tree); wrong != nil {
		return v, cluster.Errorf(cluster.Invalid, "%s", wrong.Body())
	}
	if err := json.Unmarshal(raw, &v); err != nil {
		return v, cluster.Errorf(cluster.Invalid, malformed)
	}
	return v, nil
}
