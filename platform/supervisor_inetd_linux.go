package platform

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// inetd holds the ports of the lines of its one file. A line is made a comment,
// and inetd reads the file again; the others stay up.
type inetd struct{}

func (s inetd) find(_ context.Context, l Listener) ([]Program, error) {
	daemon := holder(l, "inetd")
	if daemon == nil {
		return nil, nil
	}
	path := "/etc/inetd.conf"
	if last := daemon.args[len(daemon.args)-1]; len(daemon.args) > 1 && strings.HasPrefix(last, "/") {
		path = last
	}
	file, err := readState(path, 0)
	if err != nil {
		return nil, err
	}
	ports := readServices()
	var lines []string
	for line := range strings.Lines(string(file.Data)) {
		if inetdServes(line, l, ports) {
			lines = append(lines, line)
		}
	}
	if len(lines) == 0 {
		return nil, fmt.Errorf("inetd holds it, and no line of %s says why: %w", path, ErrUnsupported)
	}
	name := strings.Fields(lines[0])[0]
	p := Program{
		Kind: "inetd", Name: name, Title: fmt.Sprintf("service %s of inetd", printable(name)), Where: path,
		State: map[string]string{stateLines: strings.Join(lines, "")}, Kept: true,
	}
	file.Closed = hashOf(p.linesOff(string(file.Data)))
	p.Files = []FileState{file}
	return []Program{p}, nil
}

// inetdServes tells whether a line, "[ADDRESS:]SERVICE TYPE PROTOCOL ...", is
// what a listener is for.
func inetdServes(line string, l Listener, ports map[servicePort]uint16) bool {
	words := strings.Fields(line)
	if len(words) < 6 || strings.HasPrefix(words[0], "#") {
		return false
	}
	name := words[0][strings.LastIndexByte(words[0], ':')+1:]
	protocol := Protocol(strings.TrimRight(words[2], "46"))
	port := ports[servicePort{name, protocol}]
	if n, err := strconv.ParseUint(name, 10, 16); err == nil {
		port = uint16(n)
	}
	return protocol == l.Protocol && port == l.Port
}

func (s inetd) inspect(_ context.Context, p Program) (Program, error) {
	file, err := readState(p.Where, 0)
	if err != nil {
		return Program{}, err
	}
	p.Kept = slices.ContainsFunc(p.lines(), lineIn(string(file.Data)))
	return p, nil
}

func (s inetd) close(_ context.Context, p Program) error {
	if err := p.closeLines(); err != nil {
		return err
	}
	if err := readAgain("inetd"); err != nil && !errors.Is(err, ErrGone) {
		return err
	}
	return nil
}

func (s inetd) restore(_ context.Context, p Program) error {
	if err := p.reopenLines(); err != nil {
		return err
	}
	return readAgain("inetd")
}
