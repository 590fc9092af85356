// Package schema is the JSON Schema of everything the command line prints, and
// a check of it that is as large as that schema needs. It is for tests and for
// people; the agent does not link it.
package schema

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"
)

// V1 is the schema, draft 2020-12. Each output is one of its $defs.
//
//go:embed v1.json
var V1 []byte

type node = map[string]any

// Violations returns what in a JSON text breaks the $def of that name: one line
// each, with the path to it. None is an empty list.
func Violations(def string, text []byte) []string {
	var whole node
	if err := json.Unmarshal(V1, &whole); err != nil {
		return []string{"the schema is not JSON: " + err.Error()}
	}
	defs := whole["$defs"].(node)
	s, ok := defs[def].(node)
	if !ok {
		return []string{"the schema has no " + def}
	}
	var value any
	if err := json.Unmarshal(text, &value); err != nil {
		return []string{"not JSON: " + err.Error()}
	}
	c := checker{defs: defs}
	c.check(s, value, def)
	return c.found
}

type checker struct {
	defs  node
	found []string
}

func (c *checker) say(path, format string, args ...any) {
	c.found = append(c.found, path+": "+fmt.Sprintf(format, args...))
}

func (c *checker) check(s node, v any, path string) {
	for _, word := range slices.Sorted(maps.Keys(s)) {
		switch word {
		case "description", "required", "additionalProperties":
		case "$ref":
			c.check(c.defs[strings.TrimPrefix(s[word].(string), "#/$defs/")].(node), v, path)
		case "anyOf":
			c.anyOf(s[word].([]any), v, path)
		case "const":
			if !reflect.DeepEqual(s[word], v) {
				c.say(path, "got %v; want %v", v, s[word])
			}
		case "enum":
			if !slices.ContainsFunc(s[word].([]any), func(e any) bool { return reflect.DeepEqual(e, v) }) {
				c.say(path, "got %v; want one of %v", v, s[word])
			}
		case "type":
			if !hasType(s[word], v) {
				c.say(path, "got %T; want %v", v, s[word])
			}
		case "properties":
			c.object(s, v, path)
		case "items":
			list, _ := v.([]any)
			for i, item := range list {
				c.check(s[word].(node), item, fmt.Sprintf("%s[%d]", path, i))
			}
		default:
			c.bound(word, s[word], v, path)
		}
	}
}

// bound checks the words that limit one plain value; null has no bounds.
func (c *checker) bound(word string, limit, v any, path string) {
	number, isNumber := v.(float64)
	text, isText := v.(string)
	switch word {
	case "minimum":
		if isNumber && number < limit.(float64) {
			c.say(path, "got %v; want at least %v", v, limit)
		}
	case "maximum":
		if isNumber && number > limit.(float64) {
			c.say(path, "got %v; want at most %v", v, limit)
		}
	case "pattern":
		if isText && !regexp.MustCompile(limit.(string)).MatchString(text) {
			c.say(path, "got %q; want %v", v, limit)
		}
	case "format":
		if at, err := time.Parse(time.RFC3339, text); isText && (err != nil || at.Location() != time.UTC) {
			c.say(path, "got %q; want RFC 3339 in UTC", v)
		}
	default:
		c.say(path, "the schema uses %q, which this check does not know", word)
	}
}

func (c *checker) anyOf(choices []any, v any, path string) {
	var all []string
	for _, choice := range choices {
		one := checker{defs: c.defs}
		one.check(choice.(node), v, path)
		if len(one.found) == 0 {
			return
		}
		all = append(all, one.found...)
	}
	c.found = append(c.found, all...)
}

func (c *checker) object(s node, v any, path string) {
	fields, ok := v.(node)
	if !ok {
		return // "type" says so already
	}
	properties := s["properties"].(node)
	required, _ := s["required"].([]any)
	for _, name := range required {
		if _, there := fields[name.(string)]; !there {
			c.say(path, "lacks %s", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		p, known := properties[name].(node)
		if !known {
			c.say(path, "has %s, which the schema does not know", name)
			continue
		}
		c.check(p, fields[name], path+"."+name)
	}
}

func hasType(want, v any) bool {
	if names, ok := want.([]any); ok {
		return slices.ContainsFunc(names, func(name any) bool { return hasType(name, v) })
	}
	switch x := v.(type) {
	case nil:
		return want == "null"
	case bool:
		return want == "boolean"
	case string:
		return want == "string"
	case float64:
		return want == "number" || want == "integer" && x == math.Trunc(x)
	case []any:
		return want == "array"
	}
	return want == "object"
}
