package bpf

import "strings"

// names is what the program looks names up in. It follows a path from its last
// element to the root, so an executable is a chain of states that begins at 0. The
// name of a unit is looked up in the state unitState.
type names map[nameKey]uint32

type nameKey struct {
	Name  [nameLength]byte
	State uint32
	_     uint32
}

const unitState = ^uint32(0)

func keyOf(name string, state uint32) nameKey {
	k := nameKey{State: state}
	copy(k.Name[:], name)
	return k
}

// add enters a chain of names and returns the number of its end.
func (n names) add(state uint32, chain ...string) uint32 {
	for _, name := range chain {
		k := keyOf(name, state)
		if n[k] == 0 {
			n[k] = uint32(len(n) + 1)
		}
		state = n[k]
	}
	return state
}

// exe enters an executable: the empty name is the root of the file system.
func (n names) exe(path string) uint32 {
	chain := strings.Split(path, "/")
	for i, j := 0, len(chain)-1; i < j; i, j = i+1, j-1 {
		chain[i], chain[j] = chain[j], chain[i]
	}
	return n.add(0, chain...)
}

// unit enters a unit under both names that its control group may have: systemd
// puts "_" before one that the kernel could take for a file of its own.
func (n names) unit(name string) uint32 {
	end := n.add(unitState, name)
	n[keyOf("_"+name, unitState)] = end
	return end
}
