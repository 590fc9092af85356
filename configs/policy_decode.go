package configs

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// position is a place in a policy file, both counted from 1.
type position struct{ line, column int }

// decoder fills a Policy from a YAML tree. It goes on after a mistake, so that
// all of them are told at once, and remembers where everything stood.
type decoder struct {
	file string
	// where has the place of every value by its path, "ports.deny.0.severity".
	where    map[string]position
	problems []*PolicyError
}

// report adds a mistake in the value at path. A value that is not in the file
// stands where the nearest thing around it does.
func (d *decoder) report(path, problem, suggestion string) {
	at, ok := d.where[path]
	for !ok && path != "" {
		path = path[:max(0, strings.LastIndexByte(path, '.'))]
		at, ok = d.where[path]
	}
	d.reportAt(at, problem, suggestion)
}

func (d *decoder) reportAt(at position, problem, suggestion string) {
	d.problems = append(d.problems, &PolicyError{
		File: d.file, Line: max(1, at.line), Column: max(1, at.column),
		Problem: problem, Suggestion: suggestion,
	})
}

// fields fills the policy from the root of the tree.
func (d *decoder) fields(root ast.Node, policy *Policy) {
	d.where[""] = startOf(root)
	d.structure(root, reflect.ValueOf(policy).Elem(), "")
}

// value fills one value of any type that a Policy has.
func (d *decoder) value(node ast.Node, into reflect.Value, path string) {
	switch typed := into.Addr().Interface().(type) {
	case *PortSet:
		*typed = d.portSet(node, path)
		return
	case *Duration:
		decodeText(d, node, path, typed, ParseDuration)
		return
	case *Date:
		decodeText(d, node, path, typed, ParseDate)
		return
	}
	switch into.Kind() {
	case reflect.Struct:
		d.structure(node, into, path)
	case reflect.Map:
		d.named(node, into, path)
	case reflect.Slice:
		d.list(node, into, path)
	case reflect.String:
		if text, ok := d.text(node, path); ok {
			into.SetString(text)
		}
	case reflect.Int:
		d.number(node, into, path)
	case reflect.Bool:
		d.truth(node, into, path)
	}
}

// structure fills the fields of a struct from a mapping.
func (d *decoder) structure(node ast.Node, into reflect.Value, path string) {
	if line := into.FieldByName("Line"); line.IsValid() {
		line.SetInt(int64(d.where[path].line))
	}
	for _, e := range d.entries(node, path) {
		field, ok := fieldNamed(into.Type(), e.key)
		if !ok {
			d.reportAt(e.at, "unknown field "+quote(e.key), suggest(e.key, fieldNames(into.Type())))
			continue
		}
		inner := below(path, e.key)
		d.where[inner] = e.placeOfValue()
		before := len(d.problems)
		d.value(e.value, into.FieldByIndex(field.Index), inner)
		if allowed := field.Tag.Get("oneof"); allowed != "" && len(d.problems) == before {
			d.oneOf(into.FieldByIndex(field.Index).String(), strings.Split(allowed, "|"), inner)
		}
	}
}

func (d *decoder) oneOf(given string, allowed []string, path string) {
	if !slices.Contains(allowed, given) {
		name := path[strings.LastIndexByte(path, '.')+1:]
		d.report(path, fmt.Sprintf("unknown %s %s", name, quote(given)), suggest(given, allowed))
	}
}

// named fills a map from a mapping whose keys are names an operator chose.
func (d *decoder) named(node ast.Node, into reflect.Value, path string) {
	filled := reflect.MakeMap(into.Type())
	for _, e := range d.entries(node, path) {
		if !isName(e.key) {
			d.reportAt(e.at, quote(e.key)+" is not a name", "use letters, digits, - and _, at most 40")
			continue
		}
		inner := below(path, e.key)
		d.where[inner] = e.at
		element := reflect.New(into.Type().Elem()).Elem()
		d.value(e.value, element, inner)
		filled.SetMapIndex(reflect.ValueOf(e.key), element)
	}
	into.Set(filled)
}

func isName(text string) bool {
	for _, letter := range text {
		switch {
		case 'a' <= letter && letter <= 'z', 'A' <= letter && letter <= 'Z', '0' <= letter && letter <= '9':
		case letter == '-', letter == '_':
		default:
			return false
		}
	}
	return text != "" && len(text) <= 40
}

// list fills a slice from a sequence. A key with nothing after it is an empty
// list: its entries may all be commented out.
func (d *decoder) list(node ast.Node, into reflect.Value, path string) {
	into.Set(reflect.Zero(into.Type()))
	if isNull(node) {
		return
	}
	sequence, ok := node.(*ast.SequenceNode)
	if !ok {
		d.wrongType(path, "a list", node)
		return
	}
	for i, item := range sequence.Values {
		inner := below(path, strconv.Itoa(i))
		d.where[inner] = startOf(item)
		element := reflect.New(into.Type().Elem()).Elem()
		if isNull(item) {
			d.report(inner, "this entry is empty", "")
			continue
		}
		d.value(item, element, inner)
		into.Set(reflect.Append(into, element))
	}
}

func (d *decoder) text(node ast.Node, path string) (string, bool) {
	var text string
	switch n := node.(type) {
	case *ast.StringNode:
		text = n.Value
	case *ast.LiteralNode:
		text = strings.TrimRight(n.Value.Value, "\n")
	default:
		d.wrongType(path, "text", node)
		return "", false
	}
	if strings.TrimSpace(text) != text || text == "" {
		d.report(path, quote(text)+" is empty, or begins or ends with a space", "leave it out to mean none")
		return "", false
	}
	if problem := badText(text); problem != "" {
		d.report(path, problem, "")
		return "", false
	}
	return text, true
}

// badText says why a text cannot be shown on one line of a terminal. Escapes in
// quotes can make what the file itself does not hold.
func badText(text string) string {
	const longestText = 500
	if len(text) > longestText {
		return fmt.Sprintf("this text is longer than %d bytes", longestText)
	}
	for i, letter := range text {
		if letter == '\n' || letter == '\t' || badLetter(text[i:], letter, false) != nil {
			return fmt.Sprintf("this text has the character %U in it: write one line of plain text", letter)
		}
	}
	return ""
}

func (d *decoder) number(node ast.Node, into reflect.Value, path string) {
	if isNull(node) || node.GetToken().Type != token.IntegerType {
		d.wrongType(path, "a whole number", node)
		return
	}
	written := node.GetToken().Value
	n, err := parseNumber(written)
	if err != nil || n < 0 || n > 1_000_000_000 {
		d.report(path, quote(written)+" is not a number from 0 to 1000000000", "")
		return
	}
	into.SetInt(int64(n))
}

func (d *decoder) truth(node ast.Node, into reflect.Value, path string) {
	b, ok := node.(*ast.BoolNode)
	if !ok {
		d.wrongType(path, "true or false", node)
		return
	}
	into.SetBool(b.Value)
}

// decodeText fills a value that is written as text and has a grammar of its own.
func decodeText[T any](d *decoder, node ast.Node, path string, into *T, parse func(string) (T, error)) {
	if isScalar(node) {
		v, err := parse(node.GetToken().Value)
		if err != nil {
			d.report(path, err.Error(), "")
		}
		*into = v
		return
	}
	d.wrongType(path, "a single value", node)
}

// portSet reads a number, a span, or a list of both.
func (d *decoder) portSet(node ast.Node, path string) PortSet {
	var set PortSet
	if isNull(node) {
		d.report(path, "no port is given", "leave the field out to mean every port")
		return nil
	}
	items := []ast.Node{node}
	if sequence, ok := node.(*ast.SequenceNode); ok {
		items = sequence.Values
	}
	for i, item := range items {
		inner := path
		if len(items) > 1 {
			inner = below(path, strconv.Itoa(i))
			d.where[inner] = startOf(item)
		}
		if span, ok := d.portSpan(item, inner); ok {
			set = append(set, span)
		}
	}
	return set
}

func (d *decoder) portSpan(node ast.Node, path string) (PortSpan, bool) {
	if !isScalar(node) || node.Type() == ast.BoolType || node.Type() == ast.LiteralType {
		d.wrongType(path, "a port number or a span", node)
		return PortSpan{}, false
	}
	written := node.GetToken().Value
	if _, isText := node.(*ast.StringNode); isText {
		span, err := parseSpan(written)
		if err != nil {
			d.report(path, err.Error(), "")
		}
		return span, err == nil
	}
	port, err := parsePort(written)
	if err != nil {
		d.report(path, err.Error(), "")
	}
	return PortSpan{First: port, Last: port}, err == nil
}

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

func (d *decoder) wrongType(path, want string, node ast.Node) {
	what := "this must be " + want
	if path != "" {
		what = path[strings.LastIndexByte(path, '.')+1:] + " must be " + want
		if _, err := strconv.Atoi(path[strings.LastIndexByte(path, '.')+1:]); err == nil {
			what = "each entry must be " + want
		}
	}
	suggestion := ""
	if want == "text" && isScalar(node) && !isNull(node) {
		suggestion = fmt.Sprintf("put it in quotes: %q", node.GetToken().Value)
	}
	d.report(path, what+", not "+kindOf(node), suggestion)
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

func fieldNamed(t reflect.Type, key string) (reflect.StructField, bool) {
	for _, field := range reflect.VisibleFields(t) {
		if name := field.Tag.Get("yaml"); name == key && name != "-" {
			return field, true
		}
	}
	return reflect.StructField{}, false
}

func fieldNames(t reflect.Type) []string {
	var names []string
	for _, field := range reflect.VisibleFields(t) {
		if name := field.Tag.Get("yaml"); name != "" && name != "-" {
			names = append(names, name)
		}
	}
	return names
}

// below is the path of the value called name inside the one at path.
func below(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}
