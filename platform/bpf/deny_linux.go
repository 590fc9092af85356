package bpf

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
)

// Denier keeps programs from binding, by programs of the kernel that are attached
// to a control group and pinned in a folder of a bpffs.
//
// What is in force is never altered: its maps are frozen, and new rules are new
// maps and new programs, which take the place of the old ones in one step. So
// there is no moment without rules, and what is read back cannot have been
// changed meanwhile.
type Denier struct {
	Group  string // folder of the control group
	Pins   string // folder, made if need be
	fields *fields
}

// The kinds of bind, each with a program and a pin of its own.
var binds = []struct {
	name   string
	six    bool
	attach ebpf.AttachType
}{
	{"bind4", false, ebpf.AttachCGroupInet4Bind},
	{"bind6", true, ebpf.AttachCGroupInet6Bind},
}

// The names of the maps, by which they are found again.
const (
	mapPorts  = "fb_deny_ports"
	mapNames  = "fb_deny_names"
	mapRules  = "fb_deny_rules"
	mapTold   = "fb_deny_told"
	mapEvents = "fb_deny_events"
)

// ErrAltered says that what is in force is not what was put in force.
var ErrAltered = errors.New("the programs that refuse binds were altered")

// Set brings what is in force to exactly d; label is kept with it for whoever
// reads it back. It returns what tells of refused binds.
func (n *Denier) Set(d Deny, label []byte) (*Events, error) {
	var old *attached
	if have, err := n.attached(); err == nil {
		old = have
		defer old.close()
	}
	set, err := n.load(d, label, old)
	if err != nil {
		return nil, err
	}
	defer set.close()
	if err := os.MkdirAll(n.Pins, 0o700); err != nil {
		return nil, fmt.Errorf("make folder for what is pinned: %w", err)
	}
	for i, b := range binds {
		if err := n.attach(filepath.Join(n.Pins, b.name), b.attach, set.programs[i], old != nil); err != nil {
			if old == nil {
				err = errors.Join(err, n.Clear()) // one kind alone would be half a rule
			}
			return nil, fmt.Errorf("refuse %s: %w", b.name, err)
		}
	}
	return set.events()
}

// attach makes a program the one of a pin.
func (n *Denier) attach(pin string, kind ebpf.AttachType, p *ebpf.Program, update bool) error {
	if update {
		l, err := link.LoadPinnedLink(pin, nil)
		if err != nil {
			return fmt.Errorf("open pin: %w", err)
		}
		defer l.Close()
		return l.Update(p)
	}
	if err := unpin(pin); err != nil { // of something that was not ours any more
		return err
	}
	l, err := link.AttachCgroup(link.CgroupOptions{Path: n.Group, Attach: kind, Program: p})
	if err != nil {
		return fmt.Errorf("attach: %w", err)
	}
	defer l.Close()
	if err := l.Pin(pin); err != nil {
		return fmt.Errorf("pin: %w", err)
	}
	return nil
}

// Clear takes away all that was ever put in force.
func (n *Denier) Clear() error {
	var errs []error
	for _, b := range binds {
		errs = append(errs, unpin(filepath.Join(n.Pins, b.name)))
	}
	if err := os.Remove(n.Pins); err != nil && !errors.Is(err, fs.ErrNotExist) {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// unpin detaches what is pinned, at once, and takes the pin away.
func unpin(pin string) error {
	l, err := link.LoadPinnedLink(pin, nil)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		defer l.Close()
		if err := l.Detach(); err != nil && !errors.Is(err, ebpf.ErrNotSupported) {
			return fmt.Errorf("detach %s: %w", pin, err)
		}
	}
	if err := os.Remove(pin); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Get reads back what is in force, with its label; fs.ErrNotExist says that
// nothing is, ErrAltered that it is not what was put in force.
func (n *Denier) Get() (Deny, []byte, *Events, error) {
	have, err := n.attached()
	if err != nil {
		return Deny{}, nil, nil, err
	}
	defer have.close()
	kept, err := have.kept()
	if err != nil {
		return Deny{}, nil, nil, err
	}
	// Nobody can change a frozen map. That the map and the program say the same is
	// seen by making both anew.
	anew, err := n.load(kept.Deny, kept.Label, have)
	if err != nil {
		return Deny{}, nil, nil, err
	}
	defer anew.close()
	if err := have.same(anew); err != nil {
		return Deny{}, nil, nil, err
	}
	events, err := have.events()
	return kept.Deny, kept.Label, events, err
}

// kept is what the map of rules holds.
type kept struct {
	Deny  Deny
	Label []byte
}

// loaded are programs, one for each kind of bind, and the maps they use.
type loaded struct {
	programs []*ebpf.Program
	maps     map[string]*ebpf.Map
}

func (l *loaded) close() {
	for _, p := range l.programs {
		p.Close()
	}
	for _, m := range l.maps {
		m.Close()
	}
}

// attached is what the pins hold.
type attached struct {
	loaded
	ids []ebpf.MapID // of the maps of each program
}

// groupsOf numbers those who may pass: ports with the same have the same number.
func groupsOf(d Deny) (groups [][]Pass, of []uint32) {
	for _, s := range d.Ports {
		i := slices.IndexFunc(groups, func(g []Pass) bool { return reflect.DeepEqual(g, s.Except) })
		if i < 0 {
			i = len(groups)
			groups = append(groups, s.Except)
		}
		of = append(of, uint32(i))
	}
	return groups, of
}

// load makes programs and maps. What counts and tells is taken over from old, if
// there is one.
func (n *Denier) load(d Deny, label []byte, old *attached) (_ *loaded, err error) {
	if n.fields == nil {
		f, err := readFields()
		if err != nil {
			return nil, err
		}
		n.fields = &f
	}
	groups, of := groupsOf(d)
	passes := 0
	for _, g := range groups {
		passes += len(g)
	}
	if passes > maxPasses {
		return nil, fmt.Errorf("there are %d exceptions; the kernel is told of %d at most", passes, maxPasses)
	}
	l := &loaded{maps: map[string]*ebpf.Map{}}
	defer func() {
		if err != nil {
			l.close()
		}
	}()
	found := names{}
	for _, g := range groups {
		for _, p := range g {
			if p.Exe != nil {
				found.exe(p.Exe.Path)
			}
			if p.Unit != "" {
				found.unit(p.Unit)
			}
		}
	}
	if err := l.fill(d, label, of, found); err != nil {
		return nil, err
	}
	if err := l.share(old); err != nil {
		return nil, err
	}
	used := maps{ports: l.maps[mapPorts].FD(), told: l.maps[mapTold].FD(), events: l.maps[mapEvents].FD()}
	if m := l.maps[mapNames]; m != nil {
		used.names = m.FD()
	}
	for _, b := range binds {
		p, err := ebpf.NewProgram(&ebpf.ProgramSpec{
			Name: "fb_deny_" + b.name, Type: ebpf.CGroupSockAddr, AttachType: b.attach, License: "GPL",
			Instructions: program(d, b.six, groups, found, *n.fields, used),
		})
		if err != nil {
			return nil, fmt.Errorf("load program: %w", err)
		}
		l.programs = append(l.programs, p)
		if err := p.BindMap(l.maps[mapRules]); err != nil {
			return nil, fmt.Errorf("keep the rules with the program: %w", err)
		}
	}
	return l, nil
}
