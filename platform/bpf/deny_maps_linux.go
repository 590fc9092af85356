package bpf

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"reflect"

	"github.com/cilium/ebpf"
)

// fill makes the maps that never change.
func (l *loaded) fill(d Deny, label []byte, of []uint32, found names) error {
	ports := map[uint32]uint32{}
	for i, s := range d.Ports {
		for port := uint32(s.First); port <= uint32(s.Last); port++ {
			ports[portKey(s.Protocol, uint16(port))] = of[i]
		}
	}
	rules, err := json.Marshal(kept{d, label})
	if err != nil {
		return fmt.Errorf("write the rules down: %w", err)
	}
	if err := frozen(l, mapPorts, ebpf.Hash, ports); err != nil {
		return err
	}
	if len(found) > 0 { // else no program uses it
		if err := frozen(l, mapNames, ebpf.Hash, found); err != nil {
			return err
		}
	}
	return l.one(mapRules, rules)
}

// one makes a frozen map with a single entry of any length.
func (l *loaded) one(name string, value []byte) error {
	m, err := ebpf.NewMap(&ebpf.MapSpec{Name: name, Type: ebpf.Array, KeySize: 4, ValueSize: uint32(len(value)), MaxEntries: 1})
	if err != nil {
		return fmt.Errorf("make map %s: %w", name, err)
	}
	l.maps[name] = m
	if err := m.Put(uint32(0), value); err != nil {
		return fmt.Errorf("fill map %s: %w", name, err)
	}
	return freeze(name, m)
}

func freeze(name string, m *ebpf.Map) error {
	if err := m.Freeze(); err != nil {
		return fmt.Errorf("freeze map %s: %w", name, err)
	}
	return nil
}

// noPrealloc lets a map of the kernel be no larger than what is in it.
const noPrealloc = 1

// frozen makes a map that never changes.
func frozen[K comparable](l *loaded, name string, kind ebpf.MapType, entries map[K]uint32) error {
	var k K
	m, err := ebpf.NewMap(&ebpf.MapSpec{
		Name: name, Type: kind, KeySize: uint32(reflect.TypeOf(k).Size()), ValueSize: 4,
		MaxEntries: uint32(max(1, len(entries))), Flags: noPrealloc,
	})
	if err != nil {
		return fmt.Errorf("make map %s: %w", name, err)
	}
	l.maps[name] = m
	for k, v := range entries {
		if err := m.Put(k, v); err != nil {
			return fmt.Errorf("fill map %s: %w", name, err)
		}
	}
	return freeze(name, m)
}

// share makes the maps that count and tell, or takes them over.
func (l *loaded) share(old *attached) error {
	for _, spec := range []ebpf.MapSpec{
		{Name: mapTold, Type: ebpf.LRUHash, KeySize: 16, ValueSize: 16, MaxEntries: 1024},
		{Name: mapEvents, Type: ebpf.RingBuf, MaxEntries: 1 << 16},
	} {
		var m *ebpf.Map
		var err error
		if old != nil && old.maps[spec.Name] != nil {
			m, err = old.maps[spec.Name].Clone()
		} else {
			m, err = ebpf.NewMap(&spec)
		}
		if err != nil {
			return fmt.Errorf("make map %s: %w", spec.Name, err)
		}
		l.maps[spec.Name] = m
	}
	return nil
}

// portKey is a port as the program looks it up.
func portKey(protocol uint8, port uint16) uint32 {
	var network [2]byte
	binary.BigEndian.PutUint16(network[:], port)
	return uint32(protocol)<<16 | uint32(binary.NativeEndian.Uint16(network[:]))
}
