package configs

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// MaxPolicySize is the size, in bytes, from which a policy file is refused
// unread.
const MaxPolicySize = 1 << 20

// What a policy may hold at most. The YAML parser takes time that grows with
// the square of keys and of depth; within these bounds it takes under a second.
const (
	maxTokens = 30_000 // words and signs; some 2,000 rules
	maxFlow   = 16     // brackets and braces inside each other
	maxIndent = 64     // columns
)

// ParsePolicy reads a policy file; name is what errors call it. What the file
// leaves out gets its default. The error joins one *PolicyError for each mistake
// (at most 20); then the policy is the zero Policy.
//
// A policy is plain YAML in UTF-8, one document, without anchors, aliases, merge
// keys and tags: each can make a file mean something else than it shows. CRLF
// line ends and a byte order mark are accepted.
func ParsePolicy(data []byte, name string) (Policy, error) {
	text, problem := plainText(data)
	if problem != nil {
		problem.File = name
		return Policy{}, problem
	}
	root, problem := parseYAML(text)
	if problem != nil {
		problem.File = name
		return Policy{}, problem
	}
	d := &decoder{file: name, where: map[string]position{}}
	policy := unset()
	d.fields(root, &policy)
	if len(d.problems) == 0 {
		c := &checker{decoder: d, policy: policy}
		c.check()
	}
	if err := join(d.problems); err != nil {
		return Policy{}, err
	}
	return policy, nil
}

// plainText returns the file without byte order mark and carriage returns, or
// why it is not text that can be trusted to mean what it shows.
func plainText(data []byte) (string, *PolicyError) {
	if len(data) > MaxPolicySize {
		return "", problemAt(1, 1, fmt.Sprintf("the file is larger than %d bytes", MaxPolicySize), "")
	}
	if bytes.HasPrefix(data, []byte("\xff\xfe")) || bytes.HasPrefix(data, []byte("\xfe\xff")) {
		return "", problemAt(1, 1, "the file is in UTF-16", "save it as UTF-8")
	}
	text := string(bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")))
	text = strings.ReplaceAll(text, "\r\n", "\n")
	if strings.TrimSpace(text) == "" {
		return "", problemAt(1, 1, "the file is empty", "begin with version: "+Version)
	}
	line, column, indent := 1, 1, true
	for i, letter := range text {
		if p := badLetter(text[i:], letter, indent); p != nil {
			p.Line, p.Column = line, column
			return "", p
		}
		column++
		indent = indent && letter == ' '
		if letter == '\n' {
			line, column, indent = line+1, 1, true
		}
	}
	return text, nil
}

// badLetter says why a letter must not stand in a policy. Control characters
// and those that turn the direction of writing make a file show something else
// than it says.
func badLetter(rest string, letter rune, indent bool) *PolicyError {
	switch {
	case letter == utf8.RuneError && !strings.HasPrefix(rest, "\ufffd"):
		return problemAt(0, 0, "the file is not UTF-8 text", "")
	case letter == '\t' && indent:
		return problemAt(0, 0, "a tab is used to indent", "use spaces")
	case letter == '\n' || letter == '\t':
		return nil
	case unicode.IsControl(letter), unicode.Is(unicode.Bidi_Control, letter),
		letter == '\u2028', letter == '\u2029', letter == '\ufeff':
		return problemAt(0, 0, fmt.Sprintf("character %U must not be in a policy", letter), "")
	}
	return nil
}

// parseYAML returns the root of the one document in text.
func parseYAML(text string) (root ast.Node, problem *PolicyError) {
	// The parser is somebody else's and reads untrusted bytes: should it panic,
	// that is one more file that is refused.
	defer func() {
		if recover() != nil {
			root, problem = nil, problemAt(1, 1, "the file is not YAML", "")
		}
	}()
	tokens := lexer.Tokenize(text)
	if p := checkTokens(tokens); p != nil {
		return nil, p
	}
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		return nil, syntaxProblem(err)
	}
	return oneDocument(file)
}

// checkTokens refuses what can make a small file grow, and what the parser
// takes too long for, before the parser sees it.
func checkTokens(tokens token.Tokens) *PolicyError {
	if len(tokens) > maxTokens {
		return problemAt(1, 1, fmt.Sprintf("the file has more than %d words and signs", maxTokens), "use spans of ports to say the same with fewer rules")
	}
	depth := 0
	for _, t := range tokens {
		at := t.Position
		if word, ok := refusedSigns[t.Type]; ok {
			return problemAt(at.Line, at.Column, word+" are not used in a policy", "write the value out")
		}
		switch t.Type {
		case token.SequenceStartType, token.MappingStartType:
			depth++
		case token.SequenceEndType, token.MappingEndType:
			depth--
		case token.SequenceEntryType, token.MappingValueType:
			if depth == 0 && t.Type == token.SequenceEntryType && at.Column > maxIndent {
				return problemAt(at.Line, at.Column, "lists are nested too deeply", "")
			}
			if depth == 0 && at.IndentNum > maxIndent {
				return problemAt(at.Line, at.Column, "the line is indented too deeply", "")
			}
		}
		if depth > maxFlow {
			return problemAt(at.Line, at.Column, "brackets are nested too deeply", "")
		}
	}
	return nil
}

var refusedSigns = map[token.Type]string{
	token.AnchorType:     "anchors (&)",
	token.AliasType:      "aliases (*)",
	token.MergeKeyType:   "merge keys (<<)",
	token.TagType:        "tags (!)",
	token.DirectiveType:  "directives (%)",
	token.MappingKeyType: "explicit keys (?)",
}

// syntaxProblem turns the parser's error into ours.
func syntaxProblem(err error) *PolicyError {
	var syntax interface {
		GetToken() *token.Token
		GetMessage() string
	}
	if !errors.As(err, &syntax) {
		return problemAt(1, 1, "the file is not YAML", "")
	}
	line, column := 1, 1
	if t := syntax.GetToken(); t != nil && t.Position != nil {
		line, column = max(1, t.Position.Line), max(1, t.Position.Column)
	}
	return problemAt(line, column, "this is not YAML: "+syntax.GetMessage(), "")
}

func oneDocument(file *ast.File) (ast.Node, *PolicyError) {
	var root ast.Node
	for _, doc := range file.Docs {
		if doc.Body == nil {
			continue
		}
		if root != nil {
			at := startOf(doc.Body)
			return nil, problemAt(at.line, at.column, "a second document begins here", "keep one policy in one file")
		}
		root = doc.Body
	}
	if root == nil {
		return nil, problemAt(1, 1, "the file is empty", "begin with version: "+Version)
	}
	return root, nil
}

func problemAt(line, column int, problem, suggestion string) *PolicyError {
	return &PolicyError{Line: line, Column: column, Problem: problem, Suggestion: suggestion}
}

// unset is what a policy says that says nothing.
func unset() Policy {
	return Policy{
		Mode:  Audit,
		Ports: Ports{Default: PortDefault{Severity: Low}},
		OS:    OSRules{WarnBefore: 90 * day, Extended: "auto"},
		Updates: UpdateRules{
			Security:    7 * day,
			KEV:         2 * day,
			ListsMaxAge: 7 * day,
		},
		Isolation: IsolationRules{
			Keep:       []string{"hub", "dhcp"},
			Lease:      15 * minute,
			Max:        4 * hour,
			OnLeaseEnd: "open",
		},
		Restrict: RestrictRules{Outbound: "any"},
		Limits:   Limits{DisruptivePerHour: 10},
	}
}
