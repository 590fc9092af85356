package configs_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/firebreak-sec/firebreak/configs"
)

// schema is one node of a JSON Schema, with the keywords that ours uses. Any
// other keyword fails the test, so that none is written and never checked.
type schema struct {
	Schema               string             `json:"$schema"`
	Ref                  string             `json:"$ref"`
	Defs                 map[string]*schema `json:"$defs"`
	Title                string             `json:"title"`
	Description          string             `json:"description"`
	Type                 json.RawMessage    `json:"type"`
	Enum                 []string           `json:"enum"`
	AnyOf                []*schema          `json:"anyOf"`
	Properties           map[string]*schema `json:"properties"`
	PropertyNames        *schema            `json:"propertyNames"`
	AdditionalProperties json.RawMessage    `json:"additionalProperties"`
	Required             []string           `json:"required"`
	MinProperties        int                `json:"minProperties"`
	Items                *schema            `json:"items"`
	MinItems             int                `json:"minItems"`
	UniqueItems          bool               `json:"uniqueItems"`
	Minimum              *float64           `json:"minimum"`
	Maximum              *float64           `json:"maximum"`
	MinLength            int                `json:"minLength"`
	MaxLength            int                `json:"maxLength"`
	Pattern              string             `json:"pattern"`
}

func readSchema(t *testing.T) *schema {
	t.Helper()
	decoder := json.NewDecoder(bytes.NewReader(configs.Schema))
	decoder.DisallowUnknownFields()
	var root schema
	if err := decoder.Decode(&root); err != nil {
		t.Fatal(err)
	}
	if root.Schema != "https://json-schema.org/draft/2020-12/schema" {
		t.Errorf("got schema version %s", root.Schema)
	}
	return &root
}

// The schema has exactly the fields of the Go types, with the same words in
// every enumeration.
func TestSchemaIsThePolicy(t *testing.T) {
	root := readSchema(t)
	compareFields(t, root, root, reflect.TypeFor[configs.Policy](), "policy")
	for kind, def := range map[string]string{"mitigation": "mitigations", "remediation": "remediations"} {
		var names []string
		for _, a := range configs.ActionNames {
			if a.Kind == kind {
				names = append(names, a.Name)
			}
		}
		if got := root.Defs[def].Items.Enum; !slices.Equal(got, names) {
			t.Errorf("%s: the schema has %v; the code has %v", def, got, names)
		}
	}
	if got := root.Defs["Exception"].Properties["detector"].Enum; !slices.Equal(got, configs.DetectorNames) {
		t.Errorf("the schema has the detectors %v; the code has %v", got, configs.DetectorNames)
	}
}

func compareFields(t *testing.T, root, node *schema, structure reflect.Type, path string) {
	t.Helper()
	node = root.resolve(node)
	if string(node.AdditionalProperties) != "false" {
		t.Errorf("%s: the schema allows unknown fields", path)
	}
	left := maps.Clone(node.Properties)
	for _, field := range reflect.VisibleFields(structure) {
		name := field.Tag.Get("yaml")
		if name == "-" {
			continue
		}
		at := path + "." + name
		property, ok := node.Properties[name]
		if !ok {
			t.Errorf("%s is not in the schema", at)
			continue
		}
		delete(left, name)
		property = root.resolve(property)
		if property.Description == "" && property.Enum == nil && property.Pattern == "" && property.Type == nil {
			t.Errorf("%s: the schema says nothing about it", at)
		}
		want := strings.Split(field.Tag.Get("oneof"), "|")
		if field.Tag.Get("oneof") != "" && !slices.Equal(property.Enum, want) {
			t.Errorf("%s: the schema has %v; the code has %v", at, property.Enum, want)
		}
		if inner, node := structureIn(field.Type, root, property); inner != nil {
			compareFields(t, root, node, inner, at)
		}
	}
	for name := range left {
		t.Errorf("%s.%s is in the schema and not in the policy", path, name)
	}
}

// structureIn returns the struct inside a field, a list or a map, and its node.
func structureIn(kind reflect.Type, root, node *schema) (reflect.Type, *schema) {
	switch {
	case kind == reflect.TypeFor[configs.Date](), kind == reflect.TypeFor[configs.PortSet]():
		return nil, nil
	case kind.Kind() == reflect.Struct:
		return kind, node
	case kind.Kind() == reflect.Slice && kind.Elem().Kind() == reflect.Struct:
		return kind.Elem(), node.Items
	case kind.Kind() == reflect.Map:
		var inner schema
		if json.Unmarshal(node.AdditionalProperties, &inner) == nil {
			return kind.Elem(), root.resolve(&inner)
		}
	}
	return nil, nil
}

// Every good policy is good to the schema; and it refuses what the parser does,
// as far as a schema can know.
func TestSchemaJudgesPolicies(t *testing.T) {
	root := readSchema(t)
	good, err := filepath.Glob("testdata/good/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range good {
		if problem := root.judge(t, readFile(t, path)); problem != "" {
			t.Errorf("%s: %s", path, problem)
		}
	}
	if problem := root.judge(t, configs.DefaultFile); problem != "" {
		t.Errorf("default: %s", problem)
	}
	for _, name := range []string{
		"unknown-field", "mode-enforcing", "mode-list", "port-70000", "port-word", "port-quoted", "port-null", "severity-unknown",
		"rule-is-number", "mitigation-under-remediate", "action-unknown", "action-twice", "plan-name", "duration-no-unit",
		"keep-not-a-list", "phone-number", "text-empty", "process-not-a-path", "except-no-reason", "revision-text", "version-missing",
	} {
		archive, err := txtar.ParseFile("testdata/bad/" + name + ".txtar")
		if err != nil {
			t.Fatal(err)
		}
		if problem := root.judge(t, policyIn(t, archive)); problem == "" {
			t.Errorf("%s: the schema accepts it", name)
		}
	}
}

// judge says what the schema finds wrong with a policy; "" is nothing.
func (s *schema) judge(t *testing.T, policy []byte) string {
	t.Helper()
	asJSON, err := yaml.YAMLToJSON(policy)
	if err != nil {
		return err.Error()
	}
	var value any
	if err := json.Unmarshal(asJSON, &value); err != nil {
		t.Fatal(err)
	}
	return s.validate(s, value, "policy")
}

func (s *schema) resolve(node *schema) *schema {
	for node.Ref != "" {
		node = s.Defs[strings.TrimPrefix(node.Ref, "#/$defs/")]
	}
	return node
}

func (s *schema) validate(node *schema, value any, path string) string {
	node = s.resolve(node)
	if len(node.AnyOf) > 0 && !slices.ContainsFunc(node.AnyOf, func(n *schema) bool { return s.validate(n, value, path) == "" }) {
		return path + " is none of several things"
	}
	if problem := node.wrongType(value); problem != "" {
		return path + " " + problem
	}
	if text, ok := value.(string); node.Enum != nil && (!ok || !slices.Contains(node.Enum, text)) {
		return fmt.Sprintf("%s %v is none of %v", path, value, node.Enum)
	}
	switch value := value.(type) {
	case string:
		if problem := node.wrongText(value); problem != "" {
			return path + " " + problem
		}
	case float64:
		if node.Minimum != nil && value < *node.Minimum || node.Maximum != nil && value > *node.Maximum {
			return fmt.Sprintf("%s %v is out of range", path, value)
		}
	case []any:
		return s.validateList(node, value, path)
	case map[string]any:
		return s.validateFields(node, value, path)
	}
	return ""
}

func (s *schema) validateList(node *schema, list []any, path string) string {
	if len(list) < node.MinItems {
		return path + " has too few entries"
	}
	for i, item := range list {
		if node.Items == nil {
			break
		}
		if node.UniqueItems && slices.Contains(list[:i], item) {
			return fmt.Sprintf("%s has %v twice", path, item)
		}
		if problem := s.validate(node.Items, item, fmt.Sprintf("%s[%d]", path, i)); problem != "" {
			return problem
		}
	}
	return ""
}

func (s *schema) validateFields(node *schema, fields map[string]any, path string) string {
	for _, name := range node.Required {
		if _, ok := fields[name]; !ok {
			return path + " has no " + name
		}
	}
	if len(fields) < node.MinProperties {
		return path + " is empty"
	}
	for name, value := range fields {
		property, known := node.Properties[name]
		if !known {
			var rest schema
			if json.Unmarshal(node.AdditionalProperties, &rest) != nil {
				return path + " has the unknown field " + name
			}
			property = &rest
		}
		if node.PropertyNames != nil && node.PropertyNames.wrongText(name) != "" {
			return path + " has the bad name " + name
		}
		if problem := s.validate(property, value, path+"."+name); problem != "" {
			return problem
		}
	}
	return ""
}

func (s *schema) wrongType(value any) string {
	if s.Type == nil {
		return ""
	}
	var one string
	var many []string
	if json.Unmarshal(s.Type, &one) == nil {
		many = []string{one}
	} else if err := json.Unmarshal(s.Type, &many); err != nil {
		return err.Error()
	}
	got := map[reflect.Kind]string{
		reflect.Invalid: "null", reflect.String: "string", reflect.Bool: "boolean",
		reflect.Float64: "integer", reflect.Slice: "array", reflect.Map: "object",
	}[reflect.ValueOf(value).Kind()]
	if number, ok := value.(float64); ok && number != float64(int64(number)) {
		got = "number"
	}
	if !slices.Contains(many, got) {
		return fmt.Sprintf("is %s, not %v", got, many)
	}
	return ""
}

func (s *schema) wrongText(text string) string {
	length := utf8.RuneCountInString(text)
	if length < s.MinLength || s.MaxLength > 0 && length > s.MaxLength {
		return "is too long or too short"
	}
	if s.Pattern != "" && !regexp.MustCompile(s.Pattern).MatchString(text) {
		return fmt.Sprintf("%q does not match %s", text, s.Pattern)
	}
	return ""
}
