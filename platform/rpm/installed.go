package rpm

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// databaseDirs are where rpm keeps its database: newer releases have the second,
// and a link to it in place of the first.
var databaseDirs = []string{"usr/lib/sysimage/rpm", "var/lib/rpm"}

// ErrNoDatabase says that nothing was installed by rpm here.
var ErrNoDatabase = errors.New("no rpm database")

// findDatabase returns the database of the host below root.
func findDatabase(root string) (path string, err error) {
	for _, dir := range databaseDirs {
		for _, name := range []string{"rpmdb.sqlite", "Packages.db", "Packages"} {
			path := filepath.Join(root, dir, name)
			switch _, err := os.Stat(path); {
			case err == nil:
				return path, nil
			case !errors.Is(err, fs.ErrNotExist):
				return "", err
			}
		}
	}
	return "", ErrNoDatabase
}

// readInstalled reads what is installed. An error says that it cannot be known.
func readInstalled(ctx context.Context, path string) ([]installed, error) {
	if filepath.Base(path) != "rpmdb.sqlite" {
		return nil, fmt.Errorf("the rpm database %s is of a format that cannot be read (only rpmdb.sqlite can)", path)
	}
	if info, err := os.Stat(path + "-journal"); err == nil && info.Size() > 0 {
		return nil, fmt.Errorf("a change of %s is under way, or was broken off", path)
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	var log writeAheadLog
	switch beside, err := os.Open(path + "-wal"); {
	case err == nil:
		defer beside.Close()
		info, err := beside.Stat()
		if err != nil {
			return nil, err
		}
		if log, err = readLog(beside, info.Size()); err != nil {
			return nil, fmt.Errorf("read %s-wal: %w", path, err)
		}
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	db, err := openSQLite(file, info.Size(), log)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	var all []installed
	err = db.headers(func(of prefix) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		p, err := parsePackage(of)
		if err == nil && p.name != "gpg-pubkey" { // a key, kept as if it were a package
			all = append(all, p)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return all, nil
}

// baseArch is the architecture of the host: that of most of its packages.
func baseArch(all []installed) string {
	count := map[string]int{}
	most := ""
	for _, p := range all {
		if p.arch == "noarch" || p.arch == "" {
			continue
		}
		count[p.arch]++
		if n := count[p.arch]; n > count[most] || n == count[most] && p.arch < most {
			most = p.arch
		}
	}
	switch {
	case len(most) == 4 && most[0] == 'i' && strings.HasSuffix(most, "86"):
		return "i386"
	case strings.HasPrefix(most, "armv7"):
		return "armhfp"
	}
	return most
}
