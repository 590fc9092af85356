package rpm

import (
	"bufio"
	"errors"
	"io"
	"strings"
)

// readModules reads which packages belong to which stream of a module. The file is
// some megabytes of YAML, always written by the same library: the few lines that
// matter are known by how far they are indented, and a file of any other shape is an
// error.
func (o *offer) readModules(in io.Reader) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 1<<20)
	var d moduleDocument
	known := false
	for lines.Scan() {
		line := lines.Text()
		if line == "---" || line == "..." {
			o.addModule(d)
			d = moduleDocument{}
			continue
		}
		known = known || strings.HasPrefix(line, "document: ")
		d.line(line)
	}
	o.addModule(d)
	if err := lines.Err(); err != nil {
		return err
	}
	if !known {
		return errors.New("holds no modules")
	}
	return nil
}

// moduleDocument is one document of the file: a stream, or what is used of a module
// if nobody chose.
type moduleDocument struct {
	kind, module, name, stream string
	artifacts                  []string
	path                       [2]string // the keys that the line is below
}

func (d *moduleDocument) line(line string) {
	text := strings.TrimLeft(line, " ")
	indent := len(line) - len(text)
	if item, ok := strings.CutPrefix(text, "- "); ok {
		if indent == 4 && d.path == [2]string{"artifacts", "rpms"} {
			d.artifacts = append(d.artifacts, unquote(item))
		}
		return
	}
	key, value, _ := strings.Cut(text, ":")
	value = unquote(strings.TrimSpace(value))
	switch indent {
	case 0:
		if key == "document" {
			d.kind = value
		}
		d.path = [2]string{}
	case 2:
		d.path = [2]string{key, ""}
		switch key {
		case "name":
			d.name = value
		case "stream":
			d.stream = value
		case "module":
			d.module = value
		}
	case 4:
		d.path[1] = key
	}
}

func unquote(s string) string { return strings.Trim(s, `"'`) }

func (o *offer) addModule(d moduleDocument) {
	switch d.kind {
	case "modulemd-defaults":
		if d.stream != "" {
			o.defaults[d.module] = d.stream
		}
	case "modulemd":
		stream := d.name + ":" + d.stream
		for _, a := range d.artifacts {
			name := sourceName(a)
			if o.names[name] {
				o.artifacts[a] = stream
				o.masked[name] = append(o.masked[name], stream)
			}
		}
	}
}
