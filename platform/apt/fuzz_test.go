package apt

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// seedWith adds to a fuzzer the files of the corpus that have an ending.
func seedWith(f *testing.F, ending string) {
	f.Helper()
	cases, err := filepath.Glob("testdata/*.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range cases {
		b, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		for part := range strings.SplitSeq("\n"+string(b), "\n-- ") {
			if name, text, ok := strings.Cut(part, " --\n"); ok && strings.HasSuffix(name, ending) {
				f.Add([]byte(text + "\n"))
			}
		}
	}
}

func FuzzStatus(f *testing.F) {
	seedWith(f, "status")
	f.Fuzz(func(t *testing.T, b []byte) {
		root := t.TempDir()
		write(t, filepath.Join(root, statusFile), string(b))
		_, _ = New(root).State(context.Background())
	})
}

// FuzzPackages reads a list as it is, and in each of the ways in which it may be
// compressed.
func FuzzPackages(f *testing.F) {
	seedWith(f, "_Packages")
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, ext := range extensions {
			in, err := decompress(bytes.NewReader(b), ext)
			if err != nil {
				continue
			}
			_ = stanzas(context.Background(), in, func(s stanza) {
				p := parsePackage(s)
				r := p.relations()
				_ = relation{operator: ">="}.accepts(p.version)
				w := newWorld("amd64")
				w.add(member{p, "amd64", nil})
				for _, g := range r.depends {
					w.meets(g, member{p, "amd64", nil})
				}
			})
		}
	})
}

func FuzzRelease(f *testing.F) {
	seedWith(f, "_InRelease")
	f.Fuzz(func(_ *testing.T, b []byte) {
		if r, err := parseRelease(context.Background(), bytes.NewReader(b)); err == nil {
			_, _ = r.name(), r.security()
		}
	})
}

func FuzzSources(f *testing.F) {
	seedWith(f, "sources.list")
	seedWith(f, ".sources")
	f.Fuzz(func(t *testing.T, b []byte) {
		lines, _ := parseLines(string(b))
		paragraphs, _ := parseParagraphs(string(b))
		for _, s := range append(lines, paragraphs...) {
			if name := fileName(s.base("amd64")); strings.Contains(name, "/") {
				t.Errorf("%q is outside of the folder of lists", name)
			}
			_, _ = site(s.uri), s.wanted("amd64", []string{"i386"})
		}
	})
}

func FuzzPreferences(f *testing.F) {
	seedWith(f, "preferences")
	f.Fuzz(func(_ *testing.T, b []byte) {
		pins, _ := parsePreferences(string(b))
		l := &list{site: "example.org", release: &release{suite: "stable", codename: "x", version: "1", origin: "o"}}
		for _, p := range pins {
			v := &pkg{name: "a", source: "b", version: "1", lists: []*list{l}}
			_, _ = p.means(v, "amd64", "amd64"), p.covers(v)
		}
	})
}

func FuzzConfig(f *testing.F) {
	seedWith(f, "50x")
	f.Fuzz(func(_ *testing.T, b []byte) { config{}.parse(string(b)) })
}

func FuzzLimits(f *testing.F) {
	seedWith(f, "security-support-limited")
	f.Fuzz(func(_ *testing.T, b []byte) {
		for _, l := range append(parseLimits(string(b), false), parseLimits(string(b), true)...) {
			l.source.MatchString("a")
		}
	})
}

// FuzzCompare holds that the order of versions is one.
func FuzzCompare(f *testing.F) {
	f.Add("1:1.0~rc1-1", "1.0+b1")
	f.Fuzz(func(t *testing.T, a, b string) {
		if compare(a, b) != -compare(b, a) || compare(a, a) != 0 {
			t.Errorf("%q and %q have no order", a, b)
		}
	})
}
