package configs_test

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/firebreak-sec/firebreak/configs"
)

var update = flag.Bool("update", false, "rewrite the expected errors in testdata")

// A bad file is an archive of the policy and of the errors it must give. Bytes
// that do not belong in a text file are written as a Go string, in policy.quoted.
func TestBadPolicies(t *testing.T) {
	paths, err := filepath.Glob("testdata/bad/*.txtar")
	if err != nil || len(paths) < 70 {
		t.Fatalf("got %d bad policies, %v; want at least 70", len(paths), err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(path)
			if err != nil {
				t.Fatal(err)
			}
			policy, err := configs.ParsePolicy(policyIn(t, archive), "policy.yaml")
			if err == nil {
				t.Fatal("the policy was accepted")
			}
			if !reflect.DeepEqual(policy, configs.Policy{}) {
				t.Error("a refused policy is not zero")
			}
			var problem *configs.PolicyError
			if !errors.As(err, &problem) || problem.Line < 1 || problem.Column < 1 {
				t.Errorf("got %#v; want a *PolicyError with a position", err)
			}
			compareOrUpdate(t, path, archive, "errors", err.Error()+"\n")
		})
	}
}

func policyIn(t *testing.T, archive *txtar.Archive) []byte {
	t.Helper()
	for _, f := range archive.Files {
		switch f.Name {
		case "policy.yaml":
			return f.Data
		case "policy.quoted":
			text, err := strconv.Unquote(strings.TrimSpace(string(f.Data)))
			if err != nil {
				t.Fatal(err)
			}
			return []byte(text)
		}
	}
	t.Fatal("the archive has no policy")
	return nil
}

// compareOrUpdate compares one file of an archive, or rewrites it.
func compareOrUpdate(t *testing.T, path string, archive *txtar.Archive, name, got string) {
	t.Helper()
	for i, f := range archive.Files {
		if f.Name != name {
			continue
		}
		if *update {
			archive.Files[i].Data = []byte(got)
			if err := os.WriteFile(path, txtar.Format(archive), 0o644); err != nil {
				t.Fatal(err)
			}
			return
		}
		if string(f.Data) != got {
			t.Errorf("got:\n%s\nwant:\n%s", got, f.Data)
		}
		return
	}
	t.Fatalf("%s has no file %s", path, name)
}

func TestGoodPolicies(t *testing.T) {
	paths, err := filepath.Glob("testdata/good/*.yaml")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no good policies: %v", err)
	}
	for _, path := range paths {
		if _, err := configs.ParsePolicy(readFile(t, path), path); err != nil {
			t.Error(err)
		}
	}
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// A file means the same with the line ends and the mark that Windows writes.
func TestPolicyFromWindows(t *testing.T) {
	data := readFile(t, "testdata/good/contract.yaml")
	want, err := configs.ParsePolicy(data, "policy.yaml")
	if err != nil {
		t.Fatal(err)
	}
	windows := "\xef\xbb\xbf" + strings.ReplaceAll(string(data), "\n", "\r\n")
	got, err := configs.ParsePolicy([]byte(windows), "policy.yaml")
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
}

// What DESIGN's sample says, field by field, where a slip would change an answer.
func TestPolicyMeansWhatItSays(t *testing.T) {
	p, err := configs.ParsePolicy(readFile(t, "testdata/good/contract.yaml"), "policy.yaml")
	if err != nil {
		t.Fatal(err)
	}
	deny := p.Ports.Deny[0]
	for _, check := range []struct {
		what      string
		got, want any
	}{
		{"name", p.Name, "workstations"},
		{"revision", p.Revision, 41},
		{"mode", p.Mode, configs.Enforce},
		{"phone", p.Contact.Phone, "4357"},
		{"allow", p.Ports.Allow[0].Process, "/usr/sbin/sshd"},
		{"allow line", p.Ports.Allow[0].Line, 9},
		{"deny ports", deny.Ports.String(), "23, 445, 6379, 5900-5999"},
		{"deny has 5950", deny.Ports.Has(5950), true},
		{"deny has 5899", deny.Ports.Has(5899), false},
		{"deny line", deny.Line, 11},
		{"preempt", deny.Preempt, "block"},
		{"warnBefore", time.Duration(p.OS.WarnBefore), 90 * 24 * time.Hour},
		{"kev", p.Updates.KEV.String(), "2d"},
		{"plan line", p.Plans["shut"].Line, 18},
		{"window", p.Plans["patch"].Window, "22:00-05:00"},
		{"escalate", p.Plans["upgrade"].Escalate.Mitigate[0], "restrict-host"},
		{"times", p.Plans["again"].Times, 3},
		{"keep", strings.Join(p.Isolation.Keep, " "), "hub dhcp"},
		{"lease", time.Duration(p.Isolation.Lease), 15 * time.Minute},
		{"units", p.Protect.Units[0], "docker.service"},
	} {
		if !reflect.DeepEqual(check.got, check.want) {
			t.Errorf("%s: got %v; want %v", check.what, check.got, check.want)
		}
	}
}

// A policy that says nothing looks and changes nothing; what it does say is
// never overruled by a default, not even nothing.
func TestUnsetPolicy(t *testing.T) {
	p, err := configs.ParsePolicy([]byte("version: firebreak/v1\n"), "policy.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if p.Mode != configs.Audit || p.Ports.Default.Severity != configs.Low || p.OS.Extended != "auto" ||
		p.Isolation.OnLeaseEnd != "open" || p.Isolation.Max.String() != "4h" || p.Limits.DisruptivePerHour != 10 {
		t.Errorf("got %+v", p)
	}
	p, err = configs.ParsePolicy([]byte("version: firebreak/v1\nlimits: {disruptivePerHour: 0}\nisolation: {keep: []}\nports: {deny: [{port: 1}]}\n"), "policy.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if p.Limits.DisruptivePerHour != 0 || len(p.Isolation.Keep) != 0 || p.Ports.Deny[0].Severity != configs.High {
		t.Errorf("got %+v", p)
	}
}

// Files that are small to send and long to read, and files that are too large.
func TestHostilePoliciesAreRefusedSoon(t *testing.T) {
	for name, text := range map[string]string{
		"larger than the limit":   "name: " + strings.Repeat("x", configs.MaxPolicySize),
		"brackets":                strings.Repeat("[", 1<<19),
		"braces":                  strings.Repeat("{a: ", 1<<18),
		"list in list":            strings.Repeat("- ", 1<<19),
		"keys":                    strings.Repeat("a: 1\n", 1<<17),
		"as many keys as allowed": strings.Repeat("a: 1\n", 9_900),
		"different keys":          differentKeys(9_900),
		"entries":                 "ports:\n  deny:\n" + strings.Repeat("  - 1\n", 1<<16),
		"explicit keys":           strings.Repeat("? ", 1<<19),
		"quotes":                  "name: " + strings.Repeat("'", 1<<19),
		"one word":                strings.Repeat("x", 1<<20-1),
		"commas":                  "a: [" + strings.Repeat(",", 1<<19),
		"comment":                 strings.Repeat("#", 1<<20-1),
		"comments":                strings.Repeat("#\n", 1<<19-1),
		"deep block":              deepBlock(1000),
		"block text":              "name: |\n" + strings.Repeat("  x\n", 1<<18-10),
		"escapes":                 `name: "` + strings.Repeat(`\n`, 1<<19-10) + `"`,
		"aliases":                 "a: &a [x,x]\nb: &b [*a,*a]\nc: &c [*b,*b]\nd: [*c,*c]\n",
	} {
		t.Run(name, func(t *testing.T) {
			begin := time.Now()
			_, err := configs.ParsePolicy([]byte(text), "policy.yaml")
			took := time.Since(begin)
			if err == nil {
				t.Fatal("the policy was accepted")
			}
			if len(err.Error()) > 8000 {
				t.Errorf("the error has %d bytes", len(err.Error()))
			}
			if took > 10*time.Second {
				t.Errorf("took %s", took)
			}
			t.Logf("%s: %.100s", took, err)
		})
	}
}

func differentKeys(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString("k" + strconv.Itoa(i) + ": 1\n")
	}
	return b.String()
}

func deepBlock(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(strings.Repeat(" ", i) + "a:\n")
	}
	return b.String()
}

// Many rules are fine; only absurdly many are not.
func TestLargePolicy(t *testing.T) {
	text := "version: firebreak/v1\nports:\n  deny:\n" +
		strings.Repeat("    - {port: 23, protocol: tcp, severity: critical}\n", 1500)
	p, err := configs.ParsePolicy([]byte(text), "policy.yaml")
	if err != nil || len(p.Ports.Deny) != 1500 {
		t.Errorf("got %d rules, %v", len(p.Ports.Deny), err)
	}
}

// FuzzPolicy: no file makes the parser panic, every refusal has a position, and
// what is accepted is accepted again, with the same meaning.
func FuzzPolicy(f *testing.F) {
	f.Add(configs.DefaultFile)
	for _, pattern := range []string{"testdata/bad/*.txtar", "testdata/good/*.yaml"} {
		paths, err := filepath.Glob(pattern)
		if err != nil {
			f.Fatal(err)
		}
		for _, path := range paths {
			data, err := os.ReadFile(path)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
			for _, file := range txtar.Parse(data).Files {
				f.Add(file.Data)
			}
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		policy, err := configs.ParsePolicy(data, "policy.yaml")
		if err != nil {
			var problem *configs.PolicyError
			if !errors.As(err, &problem) || problem.Line < 1 || problem.Column < 1 {
				t.Fatalf("no position: %v", err)
			}
			return
		}
		again, err := configs.ParsePolicy(data, "policy.yaml")
		if err != nil || !reflect.DeepEqual(policy, again) {
			t.Fatalf("read again: %v\n%+v\n%+v", err, policy, again)
		}
		for _, keep := range policy.Isolation.Keep {
			k, err := configs.ParseKeep(keep)
			if err != nil {
				t.Fatal(err)
			}
			if k2, err := configs.ParseKeep(k.String()); err != nil || k2 != k {
				t.Fatalf("%q is written as %q, which is %+v, %v; want %+v", keep, k, k2, err, k)
			}
		}
	})
}
