package platform

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// unitRoot makes a file system of links, "PATH -> TARGET", and of empty files.
func unitRoot(t *testing.T, lines ...string) unitTree {
	t.Helper()
	tree := unitTree{t.TempDir()}
	for _, line := range lines {
		path, target, isLink := strings.Cut(line, " -> ")
		err := os.MkdirAll(filepath.Dir(tree.root+path), 0o755)
		if isLink {
			err = errors.Join(err, os.Symlink(target, tree.root+path))
		} else {
			err = errors.Join(err, os.WriteFile(tree.root+path, nil, 0o644))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return tree
}

func TestLinksOfAUnit(t *testing.T) {
	const etc, run = "/etc/systemd/system/", "/run/systemd/system/"
	tree := unitRoot(t,
		etc+"multi-user.target.wants/redis-server.service -> /lib/systemd/system/redis-server.service",
		etc+"graphical.target.requires/redis-server.service -> ../redis-server.service",
		etc+"redis.service -> /lib/systemd/system/redis-server.service",
		run+"timers.target.wants/redis.service -> /lib/systemd/system/redis-server.service",
		run+"redis-server.service -> /dev/null",
		// none of the following is a link of redis-server.service
		etc+"redis-server.service.wants/other.service -> /lib/systemd/system/other.service",
		etc+"multi-user.target.wants/other.service -> /lib/systemd/system/other.service",
		etc+"multi-user.target.wants/redis-server@x.service -> /lib/systemd/system/redis-server@.service",
		etc+"other.service -> /dev/null",
		etc+"multi-user.target.wants/file.service",
		etc+"redis-server.service.d/override.conf",
		etc+"redis-server.service -> /opt/redis-server.service",
	)
	links, err := tree.links("redis-server.service", "redis.service")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, l := range links {
		got = append(got, l.Path+" -> "+l.Target)
	}
	want := []string{
		etc + "graphical.target.requires/redis-server.service -> ../redis-server.service",
		etc + "multi-user.target.wants/redis-server.service -> /lib/systemd/system/redis-server.service",
		etc + "redis.service -> /lib/systemd/system/redis-server.service",
		run + "redis-server.service -> /dev/null",
		run + "timers.target.wants/redis.service -> /lib/systemd/system/redis-server.service",
	}
	if !slices.Equal(got, want) {
		t.Fatalf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if links, err := (unitTree{t.TempDir()}).links("a.service"); err != nil || len(links) != 0 {
		t.Fatal(links, err)
	}
}

func TestMaskGoesWhereItWins(t *testing.T) {
	for name, c := range map[string]struct {
		there    []string
		fragment string
		want     string
	}{
		"packaged unit":             {nil, "/lib/systemd/system/a.service", "/etc/systemd/system/a.service"},
		"masked already":            {[]string{"/etc/systemd/system/a.service -> /dev/null"}, "/lib/systemd/system/a.service", "/etc/systemd/system/a.service"},
		"file of the administrator": {[]string{"/etc/systemd/system/a.service"}, "/etc/systemd/system/a.service", "/etc/systemd/system.control/a.service"},
		"linked from elsewhere":     {[]string{"/etc/systemd/system/a.service -> /opt/a.service"}, "/opt/a.service", "/etc/systemd/system.control/a.service"},
		"early generator":           {nil, "/run/systemd/generator.early/a.service", "/etc/systemd/system.control/a.service"},
		"nowhere":                   {[]string{"/etc/systemd/system.control/a.service"}, "/etc/systemd/system.control/a.service", ""},
	} {
		t.Run(name, func(t *testing.T) {
			l, err := unitRoot(t, c.there...).mask(Unit{Name: "a.service", Fragment: c.fragment})
			if l.Path != c.want || (c.want == "") != errors.Is(err, ErrUnsupported) {
				t.Fatalf("%s %v", l.Path, err)
			}
		})
	}
}

func TestLinksArePutAndDroppedOnce(t *testing.T) {
	tree := unitRoot(t, "/etc/systemd/system/b.service")
	l := Link{"/etc/systemd/system.control/a.service", "/dev/null"}
	for range 2 {
		if err := tree.put(l); err != nil || !tree.free(l) {
			t.Fatal(err)
		}
	}
	if err := tree.put(Link{"/etc/systemd/system/b.service", "/dev/null"}); !errors.Is(err, ErrChanged) {
		t.Errorf("overwrote a file: %v", err)
	}
	if err := tree.drop(Link{l.Path, "/elsewhere"}); err != nil || tree.free(Link{l.Path, "/elsewhere"}) {
		t.Errorf("dropped a link that points elsewhere: %v", err)
	}
	for range 2 {
		if err := tree.drop(l); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Lstat(tree.root + strongMaskDir); err == nil {
		t.Error("left a folder behind")
	}
}

func TestAsClosedTellsTheAgentFromAPerson(t *testing.T) {
	wants := Link{"/etc/systemd/system/multi-user.target.wants/a.service", "/lib/systemd/system/a.service"}
	alias := Link{"/etc/systemd/system/b.service", "/lib/systemd/system/a.service"}
	mask := Link{"/etc/systemd/system/a.service", "/dev/null"}
	strong := Link{"/etc/systemd/system.control/a.service", "/dev/null"}
	for name, c := range map[string]struct {
		before, now []Link
		missing     int
		changed     bool
	}{
		"as closed":                      {[]Link{wants, alias}, []Link{mask}, 2, false},
		"closed the strong way":          {[]Link{wants}, []Link{strong}, 1, false},
		"cut short after the mask":       {[]Link{wants, alias}, []Link{mask, wants, alias}, 0, false},
		"cut short among the links":      {[]Link{wants, alias}, []Link{mask, alias}, 1, false},
		"untouched, or put back already": {[]Link{wants, alias}, []Link{wants, alias}, 0, false},
		"masked before":                  {[]Link{wants, mask}, []Link{wants, mask}, 0, false},
		"unmasked":                       {[]Link{wants}, nil, 0, true},
		"unmasked, enabled in part":      {[]Link{wants, alias}, []Link{wants}, 0, true},
		"enabled elsewhere":              {[]Link{wants}, []Link{mask, alias}, 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			_, missing, err := asClosed(Unit{Name: "a.service", Links: c.before}, Unit{Name: "a.service", Links: c.now})
			if errors.Is(err, ErrChanged) != c.changed || len(missing) != c.missing {
				t.Fatal(missing, err)
			}
		})
	}
}
