package configs

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

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
		allowed := field.Tag.Get("oneof")
		if allowed != "" && isScalar(e.value) && !isNull(e.value) {
			d.oneOf(e.value, into.FieldByIndex(field.Index), strings.Split(allowed, "|"), inner)
			continue
		}
		d.value(e.value, into.FieldByIndex(field.Index), inner)
	}
}

// oneOf fills a text that only a few words may be.
func (d *decoder) oneOf(node ast.Node, into reflect.Value, allowed []string, path string) {
	given := node.GetToken().Value
	if !slices.Contains(allowed, given) {
		d.report(path, fmt.Sprintf("unknown %s %s", lastOf(path), quote(given)), suggest(given, allowed))
		return
	}
	into.SetString(given)
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
	if problem := badText(text); problem != "" {
		d.report(path, problem, "")
		return "", false
	}
	return text, true
}

// badText says why a text is not one that can be shown on a line of a terminal.
// Escapes in quotes can make what the file itself does not hold.
func badText(text string) string {
	const longestText = 500
	switch {
	case text == "":
		return "this text is empty: leave the field out to mean none"
	case strings.TrimSpace(text) != text:
		return "this text begins or ends with a space"
	case len(text) > longestText:
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
	if kindOf(node) != "a number" {
		d.wrongType(path, "a whole number", node)
		return
	}
	written := node.GetToken().Value
	n, err := parseNumber(written)
	if err != nil || n < 0 || n > 1_000_000_000 {
		d.report(path, quote(written)+" is not a whole number from 0 to 1000000000", "")
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

func (d *decoder) wrongType(path, want string, node ast.Node) {
	what := "this must be " + want
	if path != "" {
		what = lastOf(path) + " must be " + want
		if _, err := strconv.Atoi(lastOf(path)); err == nil {
			what = "each entry must be " + want
		}
	}
	suggestion := ""
	switch {
	case want != "text" || isNull(node):
	case isScalar(node):
		suggestion = fmt.Sprintf("put it in quotes: %q", node.GetToken().Value)
	case node.Type() == ast.MappingType || node.Type() == ast.MappingValueType:
		suggestion = "what has a colon in it stands in quotes"
	}
	d.report(path, what+", not "+kindOf(node), suggestion)
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

// lastOf is the last name of a path.
func lastOf(path string) string { return path[strings.LastIndexByte(path, '.')+1:] }
