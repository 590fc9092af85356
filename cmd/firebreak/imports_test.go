package main_test

import (
	"fmt"
	"go/ast"
	"go/build/constraint"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
)

const module = "github.com/firebreak-sec/firebreak"

// layers lists the packages bottom up. A package may import packages on the
// lines above its own, and none on its own line. A name that ends in /* stands
// for every package below it.
//
// DO NOT CHANGE THIS TO FIX A BUILD. It is the architecture.
const layers = `
	platform/* agent/localapi/schema
	platform configs
	configs/genlifecycle platform/platformtest actions agent/detect
	agent/threat
	agent/policy agent/journal agent/evidence
	agent
	agent/localapi agent/fleet agent/export
	hub
	cmd/firebreak cmd/firebreak-hub
	lab
	lab/*
`

// onlyFrom says which packages may import what of others, and why not more.
// An import is named with all that is below it; a package likewise.
var onlyFrom = []struct {
	imported []string
	by       []string
	why      string
}{
	{
		[]string{
			"os/exec", "golang.org/x/sys", "github.com/mdlayher/netlink", "github.com/cilium/ebpf",
			"github.com/godbus/dbus", "github.com/coreos/go-systemd", "github.com/shirou/gopsutil",
			"github.com/Microsoft/go-winio", "github.com/go-ole/go-ole", "unsafe", "C",
		},
		[]string{"platform", "lab"},
		"only platform touches the operating system",
	},
	{
		[]string{module + "/platform/nft", module + "/platform/sockets", module + "/platform/packages", module + "/platform/live", module + "/platform/bpf", module + "/platform/hostwall", module + "/platform/wfp"},
		[]string{"platform", "lab"},
		"platform's own types say it for everybody else",
	},
	{
		[]string{"github.com/kardianos/service"},
		[]string{"cmd"},
		"what starts the program is not the program",
	},
	{
		[]string{"github.com/spf13/cobra"},
		[]string{"cmd"},
		"the command line is wiring",
	},
	{
		[]string{"go.uber.org/zap", "log", "log/slog"},
		[]string{"agent", "hub", "cmd"},
		"below the agent, errors are returned and not logged",
	},
	{
		[]string{"go.etcd.io/bbolt"},
		[]string{"agent/journal", "hub"},
		"the journal decides how records are kept",
	},
}

// topLevel are the entries of the top folder, beside dot-files and what
// .gitignore names.
var topLevel = []string{
	"actions", "agent", "cmd", "configs", "docs", "hub", "lab", "packaging", "platform",
	"go.mod", "go.sum", "Makefile", "README.md",
}

// oses are the build tags that tie a file to an operating system.
var oses = []string{"linux", "windows", "unix", "darwin", "freebsd", "netbsd", "openbsd", "js", "wasip1", "plan9"}

// TestLayout reads all sources and fails on what the design does not allow. It
// parses instead of asking the go command: the test cache knows of files that
// the test itself opens, and of no others.
func TestLayout(t *testing.T) {
	for _, fault := range faults(t, os.DirFS("../..")) {
		t.Error(fault)
	}
}

// TestLayoutFindsFaults seeds one fault at a time in a tree that has none.
func TestLayoutFindsFaults(t *testing.T) {
	sound := fstest.MapFS{
		"go.mod":                  {Data: []byte("module " + module)},
		".gitignore":              {Data: []byte("/bin/\n")},
		"bin/firebreak":           {},
		"platform/platform.go":    {Data: []byte("// Package platform is the only one.\npackage platform\n\nimport _ \"os/exec\"\n")},
		"platform/os_linux.go":    {Data: []byte("package platform\n")},
		"agent/detect/detect.go":  {Data: []byte("// Package detect finds.\npackage detect\n\nimport _ \"" + module + "/platform\"\n")},
		"agent/threat/testdata/x": {},
	}
	if got := faults(t, sound); len(got) > 0 {
		t.Fatalf("faults in a sound tree: %q", got)
	}
	for _, seed := range []struct{ name, file, content, want string }{
		{"upward import", "platform/a.go", `import "` + module + `/agent/detect"`, "imports agent/detect"},
		{"sideways import", "agent/detect/a.go", `import "` + module + `/actions"`, "imports actions"},
		{"package without a layer", "agent/mind/a.go", "", "in no layer"},
		{"system file by name", "agent/detect/a_windows.go", "", "only platform and lab"},
		{"system file by tag", "agent/detect/a.go", "//go:build !linux", "only platform and lab"},
		{"running programs", "actions/a.go", `import "os/exec"`, "only platform touches"},
		{"below a named import", "actions/a.go", `import "golang.org/x/sys/unix"`, "only platform touches"},
		{"syscalls", "actions/a.go", "import \"syscall\"\nvar _ = syscall.Mount", "syscall.Mount"},
		{"init", "actions/a.go", "func init() {}", "init()"},
		{"large interface", "actions/a.go", "type T interface { A(); B(); C(); D(); E() }", "5 methods"},
		{"large by embedding", "actions/a.go", "type S interface { A(); B(); C() }\ntype T interface { S; D(); E() }", "5 methods"},
		{"second package doc", "agent/detect/a.go", "DOC", "2 files"},
		{"service adapter", "agent/a.go", `import "github.com/kardianos/service"`, "what starts the program"},
		{"no package doc", "actions/b.go", "NODOC", "no file"},
		{"stray folder", "util/x.txt", "", "top folder"},
	} {
		t.Run(seed.name, func(t *testing.T) {
			tree := fstest.MapFS{}
			for name, file := range sound {
				tree[name] = file
			}
			tree[seed.file] = &fstest.MapFile{Data: seeded(seed.file, seed.content)}
			if got := faults(t, tree); !strings.Contains(strings.Join(got, "\n"), seed.want) {
				t.Errorf("got %q; want one with %q", got, seed.want)
			}
		})
	}
}

// seeded makes a source file of a fault, with a package doc where the package
// has none yet.
func seeded(name, fault string) []byte {
	pkg := path.Base(path.Dir(name))
	clause := "package " + pkg + "\n"
	switch {
	case strings.HasPrefix(fault, "//go:build"):
		return []byte(fault + "\n\n" + clause)
	case fault == "NODOC":
		return []byte(clause)
	case fault == "DOC" || pkg != "detect" && pkg != "platform":
		clause = "// Package " + pkg + " is.\n" + clause
	}
	return []byte(clause + strings.TrimPrefix(fault, "DOC"))
}

// source is one parsed Go file.
type source struct {
	name string // from the module's root, with slashes
	pkg  string // its folder
	test bool
	*ast.File
}

// faults returns one sentence for each thing in the tree that the design does
// not allow.
func faults(t *testing.T, tree fs.FS) []string {
	t.Helper()
	sources := parse(t, tree)
	found := strayEntries(t, tree)
	for _, s := range sources {
		found = append(found, importFaults(s)...)
		found = append(found, systemFaults(s)...)
		found = append(found, shapeFaults(s, sources)...)
	}
	return append(found, docFaults(sources)...)
}

func parse(t *testing.T, tree fs.FS) (sources []source) {
	t.Helper()
	err := fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && name != "." && (d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".")):
			return fs.SkipDir
		case d.IsDir() || path.Ext(name) != ".go":
			return nil
		}
		text, err := fs.ReadFile(tree, name)
		if err != nil {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, text, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		sources = append(sources, source{name, path.Dir(name), strings.HasSuffix(name, "_test.go"), file})
		return nil
	})
	if err != nil {
		t.Fatalf("read sources: %v", err)
	}
	if len(sources) == 0 {
		t.Fatal("no sources found")
	}
	return sources
}

func strayEntries(t *testing.T, tree fs.FS) (found []string) {
	t.Helper()
	entries, err := fs.ReadDir(tree, ".")
	if err != nil {
		t.Fatalf("read top folder: %v", err)
	}
	ignored, err := fs.ReadFile(tree, ".gitignore")
	if err != nil {
		t.Fatalf("read .gitignore: %v", err)
	}
	patterns := strings.Fields(string(ignored))
	for _, e := range entries {
		name := e.Name()
		byGit := slices.ContainsFunc(patterns, func(p string) bool {
			match, _ := path.Match(strings.Trim(p, "/"), name)
			return match
		})
		if !strings.HasPrefix(name, ".") && !byGit && !slices.Contains(topLevel, name) {
			found = append(found, name+": not one of the entries of the top folder")
		}
	}
	return found
}

func importFaults(s source) (found []string) {
	own := layer(s.pkg)
	if own < 0 {
		return []string{s.name + ": " + s.pkg + " is in no layer: put it where it belongs in imports_test.go"}
	}
	for _, spec := range s.Imports {
		imported, _ := strconv.Unquote(spec.Path.Value)
		for _, rule := range onlyFrom {
			restarts := s.test && imported == "os/exec" // a test may start itself again, to be killed
			if within(imported, rule.imported) && !within(s.pkg, rule.by) && !restarts {
				found = append(found, fmt.Sprintf("%s: imports %s: %s", s.name, imported, rule.why))
			}
		}
		ours, ok := strings.CutPrefix(imported, module+"/")
		switch {
		case !ok || ours == s.pkg:
		case s.test && ours == "platform/platformtest":
		case layer(ours) < 0 || layer(ours) >= own:
			found = append(found, fmt.Sprintf("%s: imports %s, which is not below %s", s.name, ours, s.pkg))
		}
	}
	return found
}

// layer returns the line of layers a package is on; -1 if it is on none.
func layer(pkg string) int {
	wild := -1
	for i, line := range strings.Split(strings.TrimSpace(layers), "\n") {
		for _, name := range strings.Fields(line) {
			if name == pkg {
				return i
			}
			if below, ok := strings.CutSuffix(name, "*"); ok && strings.HasPrefix(pkg, below) {
				wild = i
			}
		}
	}
	return wild
}

// within tells whether name is one of roots or below one.
func within(name string, roots []string) bool {
	return slices.ContainsFunc(roots, func(root string) bool {
		return name == root || strings.HasPrefix(name, root+"/")
	})
}

// harmless are the names of package syscall that every system has.
var harmless = regexp.MustCompile(`^(SIG[A-Z]+|E[A-Z0-9]+|Errno|Signal)$`)

func systemFaults(s source) (found []string) {
	if within(s.pkg, []string{"platform", "lab"}) {
		return nil
	}
	tagged := false
	stem := strings.TrimSuffix(strings.TrimSuffix(path.Base(s.name), ".go"), "_test")
	if i := strings.LastIndex(stem, "_"); i > 0 {
		tagged = slices.Contains(oses, stem[i+1:])
	}
	for _, group := range s.Comments {
		for _, c := range group.List {
			expr, err := constraint.Parse(c.Text)
			if err == nil && group.Pos() < s.Package {
				expr.Eval(func(tag string) bool {
					tagged = tagged || slices.Contains(oses, tag)
					return true
				})
			}
		}
	}
	if tagged {
		found = append(found, s.name+": is for one operating system: only platform and lab have such files")
	}
	ast.Inspect(s.File, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok {
			if x, ok := sel.X.(*ast.Ident); ok && x.Name == "syscall" && !harmless.MatchString(sel.Sel.Name) {
				found = append(found, s.name+": uses syscall."+sel.Sel.Name+": only platform touches the operating system")
			}
		}
		return true
	})
	return found
}

// shapeFaults finds init functions and interfaces of more than four methods.
func shapeFaults(s source, all []source) (found []string) {
	for _, decl := range s.Decls {
		if f, ok := decl.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
			found = append(found, s.name+": has an init(): what is built is built in main")
		}
	}
	ast.Inspect(s.File, func(n ast.Node) bool {
		if spec, ok := n.(*ast.TypeSpec); ok {
			if i, ok := spec.Type.(*ast.InterfaceType); ok {
				if count := methods(i, s.pkg, all); count > 4 {
					found = append(found, fmt.Sprintf("%s: interface %s has %d methods; four are enough", s.name, spec.Name.Name, count))
				}
			}
		}
		return true
	})
	return found
}

// methods counts the methods of an interface, with those of the interfaces of
// its package that it embeds.
func methods(i *ast.InterfaceType, pkg string, all []source) (count int) {
	for _, field := range i.Methods.List {
		name, embedded := field.Type.(*ast.Ident)
		if !embedded {
			count += len(field.Names)
			continue
		}
		for _, s := range all {
			if s.pkg != pkg {
				continue
			}
			for _, decl := range s.Decls {
				count += embeddedMethods(decl, name.Name, pkg, all)
			}
		}
	}
	return count
}

func embeddedMethods(decl ast.Decl, name, pkg string, all []source) (count int) {
	gen, ok := decl.(*ast.GenDecl)
	if !ok {
		return 0
	}
	for _, spec := range gen.Specs {
		if ts, ok := spec.(*ast.TypeSpec); ok && ts.Name.Name == name {
			if i, ok := ts.Type.(*ast.InterfaceType); ok {
				count += methods(i, pkg, all)
			}
		}
	}
	return count
}

// docFaults finds packages whose doc comment is missing or told twice.
func docFaults(sources []source) (found []string) {
	docs := map[string][]string{}
	for _, s := range sources {
		if s.test {
			continue
		}
		with := docs[s.pkg]
		if s.Doc != nil {
			with = append(with, s.name)
		}
		docs[s.pkg] = with
	}
	for pkg, with := range docs {
		switch len(with) {
		case 1:
		case 0:
			found = append(found, pkg+": no file has a package comment")
		default:
			found = append(found, fmt.Sprintf("%s: %d files have a package comment: %s", pkg, len(with), strings.Join(with, ", ")))
		}
	}
	return found
}
