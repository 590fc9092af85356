package platform

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// maxFlag bounds a flag's file, in bytes.
const maxFlag = 64 << 10

// flagFiles keeps every flag in a JSON file of its own, which everybody may
// read: a flag tells people what is left to do.
type flagFiles struct{ dir string }

func newFlags(stateDir string) Flags { return flagFiles{filepath.Join(stateDir, "flags")} }

func (f flagFiles) Flag(_ context.Context, name string) (*Flag, error) {
	path, err := f.path(name)
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read flag: %w", err)
	}
	if info.Size() > maxFlag {
		return nil, fmt.Errorf("read flag: %s is larger than any flag", path)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read flag: %w", err)
	}
	var set Flag
	if err := json.Unmarshal(data, &set); err != nil {
		return nil, fmt.Errorf("read flag: %s is damaged: %w", path, err)
	}
	return &set, nil
}

func (f flagFiles) SetFlag(_ context.Context, set Flag) error {
	path, err := f.path(set.Name)
	if err != nil {
		return err
	}
	data, err := json.MarshalIndent(set, "", "  ")
	if err != nil {
		return fmt.Errorf("write flag: %w", err)
	}
	if err := os.MkdirAll(f.dir, 0o755); err != nil {
		return fmt.Errorf("write flag: %w", err)
	}
	if err := writeSynced(path+".new", append(data, '\n')); err != nil {
		return fmt.Errorf("write flag: %w", err)
	}
	FaultPoint("flags.written")
	if err := RenameDurably(path+".new", path); err != nil {
		return fmt.Errorf("write flag: %w", err)
	}
	return nil
}

func (f flagFiles) ClearFlag(_ context.Context, name string) error {
	path, err := f.path(name)
	if err != nil {
		return err
	}
	if err := os.Remove(path); errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return fmt.Errorf("clear flag: %w", err)
	}
	if err := SyncDir(f.dir); err != nil {
		return fmt.Errorf("clear flag: %w", err)
	}
	return nil
}

// path returns the flag's file. A name is one word, so that it stays within the
// folder.
func (f flagFiles) path(name string) (string, error) {
	if name == "" || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
		return "", fmt.Errorf("find flag: %q is no name of a flag", name)
	}
	return filepath.Join(f.dir, name+".json"), nil
}

// writeSynced writes the file and waits until it is on disk.
func writeSynced(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Sync(), f.Chmod(0o644), f.Close())
}
