package configs

import (
	"fmt"

	"github.com/goccy/go-yaml/ast"
)

// position is a place in a policy file, both counted from 1.
type position struct{ line, column int }

// entry is one key of a mapping and its value.
type entry struct {
	key   string
	at    position // of the key
	value ast.Node
}

// placeOfValue is where a mistake in the value is shown: at a single value
// itself, and at the key of everything larger.
func (e entry) placeOfValue() position {
	if isScalar(e.value) {
		return startOf(e.value)
	}
	return e.at
}

// entries returns the keys of a mapping, each once. A key with nothing after it
// is an empty mapping: its fields may all be commented out.
func (d *decoder) entries(node ast.Node, path string) []entry {
	if isNull(node) {
		return nil
	}
	mapping, ok := node.(*ast.MappingNode)
	if !ok {
		d.wrongType(path, "fields with values (key: value)", node)
		return nil
	}
	var found []entry
	first := map[string]position{}
	for _, pair := range mapping.Values {
		at := startOf(pair.Key)
		key, ok := pair.Key.(*ast.StringNode)
		if !ok {
			d.reportAt(at, "a key must be text", "")
			continue
		}
		if before, twice := first[key.Value]; twice {
			d.reportAt(at, fmt.Sprintf("%s is here twice, first in line %d", quote(key.Value), before.line), "")
			continue
		}
		first[key.Value] = at
		found = append(found, entry{key: key.Value, at: at, value: pair.Value})
	}
	return found
}

func kindOf(node ast.Node) string {
	if isNull(node) {
		return "nothing"
	}
	switch node.Type() {
	case ast.MappingType, ast.MappingValueType:
		return "fields with values"
	case ast.SequenceType:
		return "a list"
	case ast.IntegerType, ast.FloatType, ast.InfinityType, ast.NanType:
		return "a number"
	case ast.BoolType:
		return "true or false"
	}
	return "text"
}

func isNull(node ast.Node) bool { return node == nil || node.Type() == ast.NullType }

func isScalar(node ast.Node) bool {
	if node == nil {
		return false
	}
	_, ok := node.(ast.ScalarNode)
	return ok
}

// startOf is where a node begins. A mapping in block style begins at its first
// key; its own token is the colon after it.
func startOf(node ast.Node) position {
	if node == nil {
		return position{1, 1}
	}
	if m, ok := node.(*ast.MappingNode); ok && !m.IsFlowStyle && len(m.Values) > 0 {
		return startOf(m.Values[0].Key)
	}
	t := node.GetToken()
	if t == nil || t.Position == nil {
		return position{1, 1}
	}
	return position{t.Position.Line, t.Position.Column}
}
