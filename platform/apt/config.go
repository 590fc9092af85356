package apt

import (
	"path"
	"strings"
)

// config is apt's own configuration: the values of each key, which is in lower case,
// in the order they were given.
type config map[string][]string

// first is the last value that a key of one value was given; "" if none.
func (c config) value(key string) string {
	if all := c[key]; len(all) > 0 {
		return all[len(all)-1]
	}
	return ""
}

// readConfig reads the configuration as apt does: the folder in order of names, and
// then the file.
func readConfig(read *files) (config, []string) {
	c := config{}
	var problems []string
	names, err := read.list("/etc/apt/apt.conf.d")
	if err != nil {
		problems = append(problems, "the folder of apt's configuration: "+err.Error())
	}
	for i, name := range names {
		names[i] = "/etc/apt/apt.conf.d/" + name
	}
	for _, file := range append(names, "/etc/apt/apt.conf") {
		if path.Base(file) != "apt.conf" && !partName(path.Base(file), "conf", true) {
			continue
		}
		b, err := read.readPresent(file)
		if err != nil {
			problems = append(problems, file+": "+err.Error())
		}
		c.parse(string(b))
	}
	return c, problems
}

// partName says that apt reads a file of a folder, by its name.
func partName(name, extension string, orNone bool) bool {
	for _, r := range name {
		if r|0x20 < 'a' || r|0x20 > 'z' {
			if !strings.ContainsRune("0123456789-_.:", r) {
				return false
			}
		}
	}
	ext := strings.TrimPrefix(path.Ext(name), ".")
	return name != "" && name[0] != '.' && (ext == extension || orNone && ext == "")
}

// parse adds a file. What is not understood is passed over.
func (c config) parse(text string) {
	var scopes []string
	prefix := func() string { return strings.Join(scopes, "") }
	var words []string
	end := func() {
		switch {
		case len(words) == 0:
		case strings.EqualFold(words[0], "#clear"):
			for _, w := range words[1:] {
				c.clear(prefix() + strings.ToLower(w))
			}
		case words[0] == "":
		case len(words) == 1: // a value alone is one more of the scope's
			c.set(prefix()+"::", words[0])
		default:
			c.set(prefix()+strings.ToLower(words[0]), words[1])
		}
		words = nil
	}
	for text != "" {
		var word string
		switch word, text = nextWord(text); word {
		case "":
		case ";":
			end()
		case "{":
			scope := ""
			if len(words) > 0 {
				scope = strings.ToLower(words[0])
			}
			words = nil
			scopes = append(scopes, scope+"::")
		case "}":
			end()
			scopes = scopes[:max(0, len(scopes)-1)]
		default:
			words = append(words, strings.Trim(word, `"`))
		}
	}
	end()
}

// set gives a key a value. A key that ends in colons has many.
func (c config) set(key, value string) {
	if list := strings.TrimSuffix(key, "::"); list != key {
		key = strings.TrimSuffix(list, "::")
		c[key] = append(c[key], value)
		return
	}
	c[key] = []string{value}
}

func (c config) clear(key string) {
	key = strings.TrimSuffix(key, "::")
	for k := range c {
		if k == key || strings.HasPrefix(k, key+"::") {
			delete(c, k)
		}
	}
}

// nextWord takes the next word from a text, with its quotes, or "" for a comment.
func nextWord(text string) (word, rest string) {
	text = strings.TrimLeft(text, " \t\r\n")
	after := func(mark string, text string) string {
		_, rest, _ := strings.Cut(text, mark)
		return rest
	}
	switch {
	case text == "":
		return "", ""
	case strings.HasPrefix(text, "/*"):
		return "", after("*/", text[2:])
	case strings.HasPrefix(text, "//"):
		return "", after("\n", text)
	case text[0] == '#' && !strings.HasPrefix(strings.ToLower(text), "#clear") && !strings.HasPrefix(text, "#include"):
		return "", after("\n", text)
	case strings.IndexByte("{};", text[0]) >= 0:
		return text[:1], text[1:]
	case text[0] == '"':
		if i := strings.IndexByte(text[1:], '"'); i >= 0 {
			return text[:i+2], text[i+2:]
		}
		return text, ""
	}
	if i := strings.IndexAny(text, " \t\r\n{};\""); i >= 0 {
		return text[:i], text[i:]
	}
	return text, ""
}
