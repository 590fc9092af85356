package bpf

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// attached opens what the pins hold. fs.ErrNotExist says that there is none.
func (n *Denier) attached() (_ *attached, err error) {
	group, err := groupID(n.Group)
	if err != nil {
		return nil, err
	}
	a := &attached{loaded: loaded{maps: map[string]*ebpf.Map{}}}
	defer func() {
		if err != nil {
			a.close()
		}
	}()
	missing := 0
	for _, b := range binds {
		err := a.open(filepath.Join(n.Pins, b.name), group)
		if errors.Is(err, fs.ErrNotExist) {
			missing++
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %s: %w", ErrAltered, b.name, err)
		}
	}
	switch missing {
	case 0:
		return a, nil
	case len(binds):
		return nil, fs.ErrNotExist
	}
	return nil, fmt.Errorf("%w: a pin is missing", ErrAltered)
}

// open takes up the program of a pin and its maps.
func (a *attached) open(pin string, group uint64) error {
	l, err := link.LoadPinnedLink(pin, nil)
	if err != nil {
		return err
	}
	defer l.Close()
	info, err := l.Info()
	if err != nil {
		return fmt.Errorf("ask for link: %w", err)
	}
	if c := info.Cgroup(); c == nil || c.CgroupId != group {
		return errors.New("it is not attached to the control group of this host")
	}
	p, err := ebpf.NewProgramFromID(info.Program)
	if err != nil {
		return fmt.Errorf("open program: %w", err)
	}
	a.programs = append(a.programs, p)
	about, err := p.Info()
	if err != nil {
		return fmt.Errorf("ask for program: %w", err)
	}
	ids, _ := about.MapIDs()
	slices.Sort(ids)
	if len(a.programs) > 1 && !slices.Equal(ids, a.ids) {
		return errors.New("it uses other maps")
	}
	a.ids = ids
	for _, id := range ids {
		m, err := ebpf.NewMapFromID(id)
		if err != nil {
			return fmt.Errorf("open map: %w", err)
		}
		about, err := m.Info()
		if err != nil || a.maps[about.Name] != nil {
			m.Close()
			continue
		}
		a.maps[about.Name] = m
	}
	return nil
}

// groupID is the number of a control group.
func groupID(folder string) (uint64, error) {
	var s unix.Stat_t
	if err := unix.Stat(folder, &s); err != nil {
		return 0, fmt.Errorf("find control group: %w", err)
	}
	return s.Ino, nil
}

// kept reads the rules that were put in force.
func (a *attached) kept() (kept, error) {
	m := a.maps[mapRules]
	if m == nil || a.maps[mapTold] == nil || a.maps[mapEvents] == nil {
		return kept{}, fmt.Errorf("%w: the rules are missing", ErrAltered)
	}
	text, err := m.LookupBytes(uint32(0))
	if err != nil || text == nil {
		return kept{}, fmt.Errorf("%w: the rules cannot be read: %w", ErrAltered, err)
	}
	var k kept
	if err := json.Unmarshal(text, &k); err != nil {
		return kept{}, fmt.Errorf("%w: the rules cannot be read: %w", ErrAltered, err)
	}
	return k, nil
}

// same compares what is in force with what should be.
func (a *attached) same(want *loaded) error {
	for i, p := range a.programs {
		have, err := p.Info()
		if err != nil {
			return fmt.Errorf("ask for program: %w", err)
		}
		should, err := want.programs[i].Info()
		if err != nil {
			return fmt.Errorf("ask for program: %w", err)
		}
		if have.Tag != should.Tag {
			return fmt.Errorf("%w: %s is another program", ErrAltered, binds[i].name)
		}
	}
	for _, name := range []string{mapPorts, mapNames} {
		same, err := sameMap(a.maps[name], want.maps[name])
		if err != nil {
			return fmt.Errorf("read map %s: %w", name, err)
		}
		if !same {
			return fmt.Errorf("%w: %s is another map", ErrAltered, name)
		}
	}
	return nil
}

// sameMap tells whether one map has all that the other has, and both are frozen.
func sameMap(have, want *ebpf.Map) (bool, error) {
	if have == nil || want == nil {
		return have == want, nil
	}
	info, err := have.Info()
	if err != nil {
		return false, err
	}
	if have.KeySize() != want.KeySize() || have.ValueSize() != want.ValueSize() || !info.Frozen() {
		return false, nil
	}
	a, err := entriesOf(have)
	if err != nil {
		return false, err
	}
	b, err := entriesOf(want)
	if err != nil || len(a) != len(b) {
		return false, err
	}
	for k, v := range b {
		if a[k] != v {
			return false, nil
		}
	}
	return true, nil
}

func entriesOf(m *ebpf.Map) (map[string]uint32, error) {
	all := map[string]uint32{}
	var key []byte
	var value uint32
	entries := m.Iterate()
	for entries.Next(&key, &value) {
		all[string(key)] = value
	}
	return all, entries.Err()
}
