package platform

import (
	"slices"
	"testing"
	"time"
)

func TestProStatus(t *testing.T) {
	now := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	for name, test := range map[string]struct {
		json          string
		infra, legacy bool
		err           bool
	}{
		"on":              {json: `{"attached":true,"services":[{"name":"esm-infra","status":"enabled"}]}`, infra: true},
		"on, with legacy": {json: `{"attached":true,"services":[{"name":"esm-infra-legacy","status":"enabled"}]}`, legacy: true},
		"off":             {json: `{"attached":true,"services":[{"name":"esm-infra","status":"disabled"}]}`},
		"not attached":    {json: `{"attached":false,"services":[{"name":"esm-infra","status":"enabled"}]}`},
		"only offered":    {json: `{"attached":false,"services":[{"name":"esm-infra","available":"yes"}]}`},
		"expired":         {json: `{"attached":true,"expires":"2026-11-22T00:00:00+00:00","services":[{"name":"esm-infra","status":"enabled"}]}`},
		"never expires":   {json: `{"attached":true,"expires":"9999-12-31T00:00:00+00:00","services":[{"name":"esm-infra","status":"enabled"}]}`, infra: true},
		"cut short":       {json: `{"attached":true,"services":[{`, err: true},
		"another shape":   {json: `{"attached":"yes"}`, err: true},
	} {
		t.Run(name, func(t *testing.T) {
			infra, legacy, err := parseProStatus([]byte(test.json), now)
			if infra != test.infra || legacy != test.legacy || (err != nil) != test.err {
				t.Errorf("got infra %v, legacy %v, error %v; want %v, %v, error %v", infra, legacy, err, test.infra, test.legacy, test.err)
			}
		})
	}
}

func TestAptSources(t *testing.T) {
	lines := aptLines("deb http://a/x stable main\n# deb http://off/ x y\ndeb-src http://src/ x y\n" +
		"deb [arch=amd64 signed-by=/k.gpg] https://b/y stable main # note\n  deb cdrom: x\ndeb\n")
	if want := []string{"http://a/x", "https://b/y", "cdrom:"}; !slices.Equal(lines, want) {
		t.Errorf("one-line style: got %q; want %q", lines, want)
	}
	stanzas := aptStanzas("Types: deb deb-src\nURIs: http://a/x\n https://b/y\nSuites: s\n\n" +
		"# note\nEnabled: no\nTypes: deb\nURIs: http://off/\n\nTypes: deb-src\nURIs: http://src/\n\n" +
		"types: deb\r\nuris: http://c/z\r\n")
	if want := []string{"http://a/x", "https://b/y", "http://c/z"}; !slices.Equal(stanzas, want) {
		t.Errorf("deb822 style: got %q; want %q", stanzas, want)
	}
}

func TestRHELExtendedLife(t *testing.T) {
	for name, test := range map[string]struct {
		repos string
		want  bool
	}{
		"on":          {"[rhel-7-server-els-rpms]\nname = x\nenabled = 1\n", true},
		"off":         {"[rhel-7-server-els-rpms]\nenabled = 0\n[rhel-7-server-rpms]\nenabled = 1\n", false},
		"only debug":  {"[rhel-7-server-els-debug-rpms]\nenabled = 1\n", false},
		"not offered": {"[rhel-7-server-rpms]\nenabled = 1\n", false},
	} {
		if got := rhelELS(test.repos); got != test.want {
			t.Errorf("%s: got %v; want %v", name, got, test.want)
		}
	}
}

func FuzzEntitlement(f *testing.F) {
	f.Add(`{"attached":true,"services":[{"name":"esm-infra","status":"enabled"}]}`)
	f.Add("deb [a=b] http://x y z\nTypes: deb\nURIs: http://x\n")
	f.Fuzz(func(_ *testing.T, text string) {
		_, _, _ = parseProStatus([]byte(text), time.Time{})
		_, _, _ = aptLines(text), aptStanzas(text), rhelELS(text)
	})
}
