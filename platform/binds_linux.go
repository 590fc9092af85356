package platform

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"reflect"
	"sync"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/firebreak-sec/firebreak/platform/bpf"
)

// The file system in which what outlives the agent is pinned, and the agent's own
// folder there.
const (
	bpffs    = "/sys/fs/bpf"
	bindPins = bpffs + "/firebreak"
)

// kernelBinds lets the kernel refuse binds: at the root of this host's tree of
// control groups, for the network namespace of the agent.
type kernelBinds struct {
	mu     sync.Mutex
	denier bpf.Denier
	told   ebpf.MapID       // whence refused binds are told of
	fresh  chan *bpf.Events // the newest of these; nil that there is none
}

func newBinds() Binds { return &kernelBinds{fresh: make(chan *bpf.Events, 1)} }

func (b *kernelBinds) Deny(_ context.Context, rules []BindRule) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(rules) == 0 {
		return b.clear()
	}
	if err := b.prepare(); err != nil {
		return err
	}
	want, err := compileBinds(rules)
	if err != nil {
		return err
	}
	label, err := json.Marshal(rules)
	if err != nil {
		return fmt.Errorf("keep programs from opening ports: %w", err)
	}
	have, said, events, err := b.denier.Get()
	if err != nil || !reflect.DeepEqual(have, want) || string(said) != string(label) {
		if err == nil {
			events.Close()
		}
		if events, err = b.denier.Set(want, label); err != nil {
			return fmt.Errorf("keep programs from opening ports: %w", bpfError(err))
		}
	}
	b.hand(events)
	return nil
}

func (b *kernelBinds) Denied(context.Context) ([]BindRule, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, err := os.Stat(bindPins); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err := b.prepare(); err != nil {
		return nil, err
	}
	_, label, events, err := b.denier.Get()
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read which ports no program may open: %w", bpfError(err))
	}
	b.hand(events)
	var rules []BindRule
	if err := json.Unmarshal(label, &rules); err != nil {
		return nil, fmt.Errorf("read which ports no program may open: %w", err)
	}
	return rules, nil
}

// clear takes away all that was ever pinned, whether or not it can be read.
func (b *kernelBinds) clear() error {
	b.hand(nil)
	if mounted, err := isBPFFS(); err != nil || !mounted {
		return err
	}
	b.denier.Pins = bindPins
	if err := b.denier.Clear(); err != nil {
		return fmt.Errorf("let programs open ports again: %w", bpfError(err))
	}
	return nil
}

// prepare finds out where programs are attached and pinned.
func (b *kernelBinds) prepare() error {
	group, err := findGroupRoot()
	if err != nil {
		return fmt.Errorf("keep programs from opening ports: %w: %w", ErrUnsupported, err)
	}
	mounted, err := isBPFFS()
	if err != nil {
		return err
	}
	if !mounted {
		// As systemd does on a computer, but not in a container.
		if err := unix.Mount("bpf", bpffs, "bpf", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "mode=700"); err != nil {
			return fmt.Errorf("mount %s: %w", bpffs, bpfError(err))
		}
	}
	b.denier.Group, b.denier.Pins = group, bindPins
	return nil
}

func isBPFFS() (bool, error) {
	var s unix.Statfs_t
	err := unix.Statfs(bpffs, &s)
	if errors.Is(err, unix.ENOENT) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look at %s: %w", bpffs, err)
	}
	return s.Type == unix.BPF_FS_MAGIC, nil
}

// hand gives what tells of refused binds to Attempts, if it is another one than
// before.
func (b *kernelBinds) hand(events *bpf.Events) {
	var id ebpf.MapID
	if events != nil {
		if id = events.ID; id == b.told {
			events.Close()
			return
		}
	}
	b.told = id
	select {
	case old := <-b.fresh: // nobody had taken it yet
		if old != nil {
			old.Close()
		}
	default:
	}
	b.fresh <- events
}

// bpfError says in the words of this package what the kernel would not do.
func bpfError(err error) error {
	switch {
	case errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES):
		return fmt.Errorf("%w: %w", ErrNotPermitted, err)
	case errors.Is(err, ebpf.ErrNotSupported):
		return fmt.Errorf("%w: %w", ErrUnsupported, err)
	}
	return err
}
