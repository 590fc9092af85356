package platformtest

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io/fs"

	"github.com/firebreak-sec/firebreak/platform"
)

type flags struct{ m *Machine }

func (f flags) Flag(_ context.Context, name string) (*platform.Flag, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.m.called("Flags.Flag", nil); err != nil {
		return nil, err
	}
	if set, ok := f.m.flags[name]; ok {
		return &set, nil
	}
	return nil, nil
}

func (f flags) SetFlag(_ context.Context, set platform.Flag) error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.m.called("Flags.SetFlag", set.Name); err != nil {
		return err
	}
	f.m.flags[set.Name] = set
	return nil
}

func (f flags) ClearFlag(_ context.Context, name string) error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.m.called("Flags.ClearFlag", name); err != nil {
		return err
	}
	delete(f.m.flags, name)
	return nil
}

type notifier struct{ m *Machine }

// Notify reaches everybody who has a session.
func (n notifier) Notify(_ context.Context, text string) ([]string, error) {
	n.m.mu.Lock()
	defer n.m.mu.Unlock()
	if err := n.m.called("Notifier.Notify", text); err != nil {
		return nil, err
	}
	var told []string
	for _, s := range n.m.sessions {
		told = append(told, s.User)
	}
	if len(told) > 0 {
		n.m.notices = append(n.m.notices, text)
	}
	return told, nil
}

type files struct{ m *Machine }

// Facts hashes the named file, or the executable of a process; one that was
// never added has its own path as its content.
func (f files) Facts(_ context.Context, pid int, path string) (platform.FileFacts, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.m.called("Files.Facts", nil); err != nil {
		return platform.FileFacts{}, err
	}
	if pid > 0 {
		p := f.m.process(pid)
		if p == nil {
			return platform.FileFacts{}, fmt.Errorf("read executable of process %d: %w", pid, platform.ErrGone)
		}
		path = p.Exe
	}
	data, ok := f.m.files[path]
	if !ok {
		data = []byte(path)
	}
	return platform.FileFacts{Path: path, SHA256: fmt.Sprintf("%x", sha256.Sum256(data)), Size: int64(len(data)), Mode: "-rwxr-xr-x"}, nil
}

func (f files) Read(_ context.Context, path string, limit int64) ([]byte, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.m.called("Files.Read", nil); err != nil {
		return nil, err
	}
	data, ok := f.m.files[path]
	if !ok {
		return nil, fmt.Errorf("read %s: %w", path, fs.ErrNotExist)
	}
	return data[:min(int64(len(data)), limit)], nil
}

func (n notifier) Banner(_ context.Context, text string) error {
	n.m.mu.Lock()
	defer n.m.mu.Unlock()
	if err := n.m.called("Notifier.Banner", nil); err != nil {
		return err
	}
	n.m.banner = text
	return nil
}

// Banner returns what people see when they log in.
func (m *Machine) Banner() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.banner
}
