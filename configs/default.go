package configs

import _ "embed"

// DefaultFile is the policy of a host that has none of its own, as it is
// written: it looks, decides and shows, and changes nothing.
//
//go:embed default.yaml
var DefaultFile []byte

// Schema is the JSON Schema (2020-12) of a policy, for editors.
//
//go:embed policy.schema.json
var Schema []byte

// Default returns the policy of a host that has none of its own.
func Default() (Policy, error) { return ParsePolicy(DefaultFile, "default policy") }
