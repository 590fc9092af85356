package platform

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// xinetdEntry is one service of xinetd's settings.
type xinetdEntry struct {
	path   string
	name   string // of the service, as /etc/services has it
	values map[string]string
}

func (e xinetdEntry) id() string {
	if id := e.values["id"]; id != "" {
		return id
	}
	return e.name
}

func (e xinetdEntry) protocol() Protocol {
	switch protocol := strings.TrimSuffix(e.values["protocol"], "6"); {
	case protocol != "":
		return Protocol(protocol)
	case e.values["socket_type"] == "dgram":
		return UDP
	}
	return TCP
}

func (e xinetdEntry) disabled() bool { return e.values["disable"] == "yes" }

// serves tells whether an entry is what a listener is for.
func (e xinetdEntry) serves(l Listener, ports map[servicePort]uint16) bool {
	port := ports[servicePort{e.name, e.protocol()}]
	if n, err := strconv.ParseUint(e.values["port"], 10, 16); err == nil {
		port = uint16(n)
	}
	if port != l.Port || e.protocol() != l.Protocol || e.disabled() {
		return false
	}
	bind := e.values["bind"]
	if bind == "" {
		bind = e.values["interface"]
	}
	at, err := netip.ParseAddr(bind)
	return err != nil || at.IsUnspecified() || !l.Address.IsValid() || at == l.Address.WithZone("").Unmap()
}

// parseXinetd reads the services of one file, and what it includes.
func parseXinetd(text string) (entries []xinetdEntry, files, folders []string) {
	var entry *xinetdEntry
	open := false
	for line := range strings.Lines(text) {
		words := xinetdWords(line)
		switch {
		case len(words) == 0:
		case !open && words[0] == "{":
			open = true
		case open && words[0] == "}":
			if entry != nil {
				entries = append(entries, *entry)
			}
			entry, open = nil, false
		case open && entry != nil && len(words) > 1:
			key := strings.TrimRight(words[0], "+-=")
			entry.values[key] = strings.Join(slices.DeleteFunc(words[1:], isAssignment), " ")
		case open:
		case words[0] == "service" && len(words) > 1:
			entry = &xinetdEntry{name: words[1], values: map[string]string{}}
		case words[0] == "include" && len(words) > 1:
			files = append(files, words[1])
		case words[0] == "includedir" && len(words) > 1:
			folders = append(folders, words[1])
		}
	}
	return entries, files, folders
}

func isAssignment(word string) bool { return word == "=" || word == "+=" || word == "-=" }

// xinetdWords returns the words of a line: none of a comment's.
func xinetdWords(line string) []string {
	if strings.HasPrefix(strings.TrimSpace(line), "#") {
		return nil
	}
	return strings.Fields(strings.Replace(line, "=", " = ", 1))
}

// disableXinetd sets disable = yes for one service of a file.
func disableXinetd(text, id string, m mark) (string, error) {
	var out, block strings.Builder
	found, open := 0, false
	name := ""
	var values map[string]string
	for line := range strings.Lines(text) {
		words := append(xinetdWords(line), "")
		switch {
		case open && words[0] == "}":
			body := block.String()
			if e := (xinetdEntry{name: name, values: values}); name != "" && e.id() == id && !e.disabled() {
				found++
				body = disableBlock(body, m)
			}
			out.WriteString(body)
			block.Reset()
			open, name, values = false, "", nil
		case open:
			if len(words) > 3 && values != nil {
				values[words[0]] = words[2]
			}
			block.WriteString(line)
			continue
		case words[0] == "service":
			name, values = words[1], map[string]string{}
		case words[0] == "{":
			open = true
		}
		out.WriteString(line)
	}
	if found != 1 || open {
		return "", fmt.Errorf("there are %d services %s: %w", found, id, ErrUnsupported)
	}
	return out.String(), nil
}

func disableBlock(body string, m mark) string {
	var out strings.Builder
	out.WriteString(m.added("\tdisable = yes"))
	for line := range strings.Lines(body) {
		if words := xinetdWords(line); len(words) > 0 && words[0] == "disable" {
			line = m.off(line)
		}
		out.WriteString(line)
	}
	return out.String()
}

// readXinetd returns the services of xinetd's settings, in all their files.
func readXinetd(path string) ([]xinetdEntry, error) {
	var all []xinetdEntry
	files := []string{path}
	for i := 0; i < len(files) && i < maxEntries; i++ {
		f, err := readState(files[i], 0)
		if err != nil {
			return nil, err
		}
		entries, included, folders := parseXinetd(string(f.Data))
		for _, e := range entries {
			e.path = f.Path
			all = append(all, e)
		}
		files = append(files, included...)
		for _, dir := range folders {
			found, err := os.ReadDir(dir)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return nil, fmt.Errorf("read %s: %w", dir, err)
			}
			for _, e := range found {
				if !strings.Contains(e.Name(), ".") && !strings.HasSuffix(e.Name(), "~") && !e.IsDir() {
					files = append(files, filepath.Join(dir, e.Name()))
				}
			}
		}
	}
	return all, nil
}

// servicePort is a service of /etc/services.
type servicePort struct {
	name     string
	protocol Protocol
}

// parseServices reads /etc/services: "smtp 25/tcp mail".
func parseServices(data []byte) map[servicePort]uint16 {
	ports := map[servicePort]uint16{}
	for lines := bufio.NewScanner(bytes.NewReader(data)); lines.Scan(); {
		line, _, _ := strings.Cut(lines.Text(), "#")
		words := strings.Fields(line)
		if len(words) < 2 {
			continue
		}
		number, protocol, _ := strings.Cut(words[1], "/")
		n, err := strconv.ParseUint(number, 10, 16)
		if err != nil {
			continue
		}
		for _, name := range append(words[2:], words[0]) {
			ports[servicePort{name, Protocol(protocol)}] = uint16(n)
		}
	}
	return ports
}

func readServices() map[servicePort]uint16 {
	data, err := os.ReadFile("/etc/services")
	if err != nil {
		return nil
	}
	return parseServices(data)
}
