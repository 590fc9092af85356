package platform

import (
	"errors"
	"testing"
)

func TestNoAutostart(t *testing.T) {
	m := markOf("supervisord", "own")
	added := m.added("autostart=false")
	for name, c := range map[string]struct {
		text, want string
		err        error
	}{
		"none":            {"[program:own]\ncommand=x\n", "[program:own]\n" + added + "command=x\n", nil},
		"one":             {"[program:own] ; mine\ncommand=x\nautostart = true\n", "[program:own] ; mine\n" + added + "command=x\n" + m.off("autostart = true\n"), nil},
		"in capitals":     {"[program:own]\nAutoStart: yes", "[program:own]\n" + added + m.off("AutoStart: yes"), nil},
		"of another":      {"[program:a]\nautostart=true\n[program:own]\n[program:b]\nautostart=true\n", "[program:a]\nautostart=true\n[program:own]\n" + added + "[program:b]\nautostart=true\n", nil},
		"lines of DOS":    {"[program:own]\r\nautostart=true\r\n", "[program:own]\r\n" + added + m.off("autostart=true\r\n"), nil},
		"twice":           {"[program:own]\n[program:own]\n", "", ErrUnsupported},
		"absent":          {"[program:a]\n", "", ErrUnsupported},
		"in several":      {"[program:own]\nautostart=\n  true\n", "", ErrUnsupported},
		"goes on after":   {"[program:own]\n; c\n\n  true\n", "", ErrUnsupported},
		"without its end": {"[program:own]", "", ErrUnsupported},
	} {
		got, err := noAutostart(c.text, "program:own", m)
		if got != c.want || !errors.Is(err, c.err) {
			t.Errorf("%s: got %q, %v; want %q, %v", name, got, err, c.want, c.err)
		}
	}
}

func TestParseINI(t *testing.T) {
	got := parseINI("; c\n[unix_http_server]\nfile=/run/s.sock ; where\nchmod : 0700\n# c\n[program:x]\ncommand = a;b #c\n\tmore\nAUTOSTART=False\nautostart=True\n")
	if len(got) != 2 || got[0].name != "unix_http_server" || got[0].values["file"] != "/run/s.sock" || got[0].values["chmod"] != "0700" ||
		got[1].values["command"] != "a;b\nmore" || got[1].values["autostart"] != "True" {
		t.Errorf("got %+v", got)
	}
}

func TestSupervisordSection(t *testing.T) {
	c := supervisordConfig{}
	for _, name := range []string{"program:alone", "group:pair", "program:a", "program:b", "program:twice", "program:twice"} {
		c.sections = append(c.sections, iniSection{iniText: iniText{name: name}})
	}
	for _, x := range []struct {
		group, name, want string
		whole             bool
	}{
		{"alone", "alone", "program:alone", true},
		{"alone", "alone_01", "program:alone", true},
		{"pair", "b", "program:b", false},
		{"pair", "b_00", "", false},
		{"twice", "twice", "", false},
		{"other", "other", "", false},
	} {
		got, whole, err := c.section(supervisordProcess{group: x.group, name: x.name})
		if got.name != x.want || whole != x.whole || (err != nil) != (x.want == "") || err != nil && !errors.Is(err, ErrUnsupported) {
			t.Errorf("%s:%s: got %q, %v, %v; want %q, %v", x.group, x.name, got.name, whole, err, x.want, x.whole)
		}
	}
}

const processInfo = `<?xml version='1.0'?><methodResponse><params><param><value><array><data>
<value><struct><member><name>name</name><value><string>own</string></value></member>
<member><name>group</name><value><string>grp</string></value></member>
<member><name>pid</name><value><int>42</int></value></member></struct></value>
</data></array></value></param></params></methodResponse>`

func TestParseSupervisordAnswer(t *testing.T) {
	v, err := parseSupervisordAnswer([]byte(processInfo))
	if err != nil || len(v.Array) != 1 || v.Array[0].member("name").Text != "own" || v.Array[0].member("pid").Int != 42 {
		t.Errorf("got %+v, %v", v, err)
	}
	_, err = parseSupervisordAnswer([]byte(`<methodResponse><fault><value><struct><member><name>faultCode</name><value><int>70</int></value></member><member><name>faultString</name><value><string>NOT_RUNNING: x</string></value></member></struct></value></fault></methodResponse>`))
	var fault errFault
	if !errors.As(err, &fault) || fault.code != faultNotRunning {
		t.Errorf("fault: got %v", err)
	}
	for _, text := range []string{"", "<a/>", "<methodResponse></methodResponse>", processInfo[:200]} {
		if _, err := parseSupervisordAnswer([]byte(text)); err == nil {
			t.Errorf("%q is no answer", text)
		}
	}
}

func TestSupervisordCall(t *testing.T) {
	for want, params := range map[string][]string{
		"<methodCall><methodName>supervisor.x</methodName><params></params></methodCall>": nil,
		"<methodCall><methodName>supervisor.x</methodName><params><param><value><string>a</string></value></param>" +
			"<param><value><string>&lt;</string></value></param></params></methodCall>": {"a", "<"},
	} {
		if got, err := supervisordCall("x", params...); string(got) != want || err != nil {
			t.Errorf("got %s, %v; want %s", got, err, want)
		}
	}
}

func TestSupervisordSettings(t *testing.T) {
	for _, args := range [][]string{{"-c", "/a"}, {"-c/a"}, {"--configuration=/a"}, {"--configuration", "/a"}} {
		if got, err := supervisordSettings(append([]string{"python3", "supervisord", "-n"}, args...)); got != "/a" || err != nil {
			t.Errorf("%q: got %q, %v", args, got, err)
		}
	}
	if _, err := supervisordSettings([]string{"supervisord", "-c", "a"}); !errors.Is(err, ErrUnsupported) {
		t.Errorf("a relative path: got %v", err)
	}
}

func FuzzNoAutostart(f *testing.F) {
	f.Add("[program:own]\ncommand=x\nautostart=true\n[program:b]\n")
	f.Add("[program:own]\r\nautostart : 1\r\n")
	f.Fuzz(func(t *testing.T, text string) {
		p := Program{Kind: "supervisord", Name: "own"}
		sameWithoutMarks(t, text, p.noAutostart, markOf(p.Kind, p.Name))
	})
}

func FuzzSupervisordAnswer(f *testing.F) {
	f.Add([]byte(processInfo))
	f.Fuzz(func(t *testing.T, data []byte) { _, _ = parseSupervisordAnswer(data) })
}
