package platform

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// supervisord runs programs by sections of its settings. One is stopped through
// supervisord's own socket, and its section says that it does not start by itself.
type supervisord struct{}

// The keys of a supervisord's Program.State.
const (
	stateSettings = "settings" // the file that supervisord was started with
	stateGroup    = "group"
	stateRunning  = "running" // the processes that ran, by name
)

func (s supervisord) find(ctx context.Context, l Listener) ([]Program, error) {
	daemon, child := under(l, "supervisord")
	if daemon == nil {
		return nil, nil
	}
	if child == nil {
		if len(l.Owner.PIDs) > 1 {
			return nil, fmt.Errorf("supervisord itself opens it for its programs: %w", ErrUnsupported)
		}
		return nil, nil
	}
	path, err := supervisordSettings(daemon.args)
	if err != nil {
		return nil, err
	}
	c, err := readSupervisord(path)
	if err != nil {
		return nil, err
	}
	all, err := s.processes(ctx, c)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(all, func(p supervisordProcess) bool { return p.pid == child.PID })
	if i < 0 {
		return nil, nil // what supervisord does not know of, it does not start again
	}
	section, _, err := c.section(all[i])
	if err != nil {
		return nil, err
	}
	p := Program{
		Kind: "supervisord", Name: strings.TrimPrefix(section.name, "program:"), Where: c.socket,
		State: map[string]string{stateSettings: path, stateGroup: all[i].group},
	}
	p.Title = fmt.Sprintf("program %s of supervisord", printable(p.Name))
	if err := s.describe(ctx, &p, c, all); err != nil {
		return nil, err
	}
	file, err := readState(section.path, section.owner)
	if err != nil {
		return nil, err
	}
	text, err := p.noAutostart(string(file.Data))
	if err != nil {
		return nil, err
	}
	file.Closed = hashOf(text)
	p.Files = []FileState{file}
	return []Program{p}, nil
}

func (p Program) noAutostart(text string) (string, error) {
	section := "program:" + p.Name
	for _, s := range parseINI(text) {
		if s.name == section && isFalse(s.values["autostart"]) {
			return text, nil
		}
	}
	return noAutostart(text, section, markOf(p.Kind, p.Name))
}

func isFalse(value string) bool {
	return slices.Contains([]string{"false", "no", "off", "0"}, strings.ToLower(value))
}

// supervisordSettings returns the file that supervisord goes by.
func supervisordSettings(args []string) (string, error) {
	for i, a := range args {
		var path string
		switch {
		case (a == "-c" || a == "--configuration") && i+1 < len(args):
			path = args[i+1]
		case strings.HasPrefix(a, "--configuration="):
			path = strings.TrimPrefix(a, "--configuration=")
		case strings.HasPrefix(a, "-c") && len(a) > 2:
			path = a[2:]
		default:
			continue
		}
		if !filepath.IsAbs(path) {
			return "", fmt.Errorf("supervisord starts it again, and does not say in which folder its settings are: %w", ErrUnsupported)
		}
		return path, nil
	}
	const usual, other = "/etc/supervisord.conf", "/etc/supervisor/supervisord.conf"
	if f, err := readState(usual, 0); err == nil && !f.Absent {
		return usual, nil
	}
	return other, nil
}

func (supervisord) processes(ctx context.Context, c supervisordConfig) ([]supervisordProcess, error) {
	line, err := dialSupervisord(ctx, c)
	if err != nil {
		return nil, err
	}
	return line.processes(ctx)
}

// describe fills in what changes with the program.
func (supervisord) describe(ctx context.Context, p *Program, c supervisordConfig, all []supervisordProcess) error {
	var running []string
	var ids []ProcessID
	p.Kept = false
	for _, process := range p.own(c, all) {
		if process.active {
			running, p.Kept = append(running, process.name), true
		}
		if process.pid > 1 {
			ids = append(ids, family(ctx, process.pid)...)
		}
	}
	for _, s := range c.sections {
		p.Kept = p.Kept || s.name == "program:"+p.Name && !isFalse(s.values["autostart"])
	}
	p.PIDs = pidsOf(ids)
	p.State[stateRunning], p.State[stateProcesses] = strings.Join(running, " "), writeIDs(ids)
	return nil
}

// own returns the processes that the program's section is about.
func (p Program) own(c supervisordConfig, all []supervisordProcess) []supervisordProcess {
	var own []supervisordProcess
	for _, process := range all {
		if process.group != p.State[stateGroup] {
			continue
		}
		if _, whole, err := c.section(process); err == nil && (whole || process.name == p.Name) {
			own = append(own, process)
		}
	}
	return own
}

func (s supervisord) inspect(ctx context.Context, p Program) (Program, error) {
	c, err := readSupervisord(p.State[stateSettings])
	if err != nil {
		return Program{}, err
	}
	if !slices.ContainsFunc(c.sections, func(s iniSection) bool { return s.name == "program:"+p.Name }) {
		return Program{}, fmt.Errorf("find the settings of %s: %w", p.Name, ErrGone)
	}
	all, err := s.processes(ctx, c)
	if err != nil && !errors.Is(err, ErrGone) {
		return Program{}, err
	}
	outlived := readIDs(p.State[stateProcesses])
	p.State = map[string]string{stateSettings: p.State[stateSettings], stateGroup: p.State[stateGroup]}
	if err := s.describe(ctx, &p, c, all); err != nil {
		return Program{}, err
	}
	p.PIDs = pidsOf(append(readIDs(p.State[stateProcesses]), outlived...))
	return p, nil
}

// close changes the settings before it stops the program. supervisord need not
// read them now: it does at its next start.
func (s supervisord) close(ctx context.Context, p Program) error {
	for _, f := range p.Files {
		if err := f.edit(p.noAutostart); err != nil {
			return err
		}
	}
	FaultPoint("supervisors.unkept")
	c, err := readSupervisord(p.State[stateSettings])
	if err != nil {
		return err
	}
	line, err := dialSupervisord(ctx, c)
	if errors.Is(err, ErrGone) {
		return endAll(ctx, readIDs(p.State[stateProcesses]))
	}
	if err != nil {
		return err
	}
	all, err := line.processes(ctx)
	if err != nil {
		return err
	}
	ids := readIDs(p.State[stateProcesses])
	for _, process := range p.own(c, all) {
		if process.pid > 1 {
			ids = append(ids, family(ctx, process.pid)...)
		}
		if !process.active {
			continue
		}
		if err := line.ask(ctx, faultNotRunning, "stopProcess", process.group+":"+process.name); err != nil {
			return err
		}
	}
	return endAll(ctx, ids) // supervisord stops no children of a program
}

func (s supervisord) restore(ctx context.Context, p Program) error {
	for _, f := range p.Files {
		m := markOf(p.Kind, p.Name)
		if err := f.edit(func(text string) (string, error) { return m.takeBack(text), nil }); err != nil {
			return err
		}
	}
	if p.State[stateRunning] == "" {
		return nil
	}
	c, err := readSupervisord(p.State[stateSettings])
	if err != nil {
		return err
	}
	line, err := dialSupervisord(ctx, c)
	if err != nil {
		return fmt.Errorf("supervisord does not run, which has to start it: %w", err)
	}
	if err := p.adopt(ctx, c, line); err != nil {
		return err
	}
	for name := range strings.FieldsSeq(p.State[stateRunning]) {
		if err := line.ask(ctx, faultAlreadyStarted, "startProcess", p.State[stateGroup]+":"+name); err != nil {
			return err
		}
	}
	return nil
}

// adopt has supervisord take over the settings of a group that it read while the
// program was closed. A group of which something runs keeps them until then.
func (p Program) adopt(ctx context.Context, c supervisordConfig, line supervisordLine) error {
	group := p.State[stateGroup]
	all, err := line.processes(ctx)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(all, func(q supervisordProcess) bool { return q.group == group && q.active }) {
		return nil
	}
	answer, err := line.call(ctx, "reloadConfig")
	if err != nil {
		return err
	}
	// [[added, changed, removed]], each a list of groups.
	if len(answer.Array) != 1 || len(answer.Array[0].Array) != 3 {
		return errors.New("read supervisord's answer: it tells of no changes")
	}
	if !slices.ContainsFunc(answer.Array[0].Array[1].Array, func(v xmlValue) bool { return v.Text == group }) {
		return nil
	}
	for _, method := range []string{"removeProcessGroup", "addProcessGroup"} {
		if _, err := line.call(ctx, method, group); err != nil {
			return err
		}
	}
	return nil
}
