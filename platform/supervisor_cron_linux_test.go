package platform

import (
	"slices"
	"strings"
	"testing"
)

func TestParseCrontab(t *testing.T) {
	const users = "# m h dom mon dow command\nSHELL=/bin/sh\nPATH = /bin\n@reboot /usr/bin/x 1\n*/5 * * * *  env A=b x % input\n\n5 4 * * sun date +\\%F\n@daily\n  @hourly  y\n"
	var got []string
	for _, j := range parseCrontab(users, false) {
		got = append(got, j.when+"|"+j.command)
	}
	want := []string{"@reboot|/usr/bin/x 1", "*/5 * * * *|env A=b x ", "5 4 * * sun|date +%F", "@hourly|y"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q; want %q", got, want)
	}
	jobs := parseCrontab("17 * * * * root cd / && run-parts\n@reboot lena x\n@reboot lena\n", true)
	if len(jobs) != 2 || jobs[0].user != "root" || jobs[0].when != "17 * * * *" || jobs[1].user != "lena" || jobs[1].command != "x" {
		t.Errorf("of the system: got %+v", jobs)
	}
}

func TestCronJobStarts(t *testing.T) {
	perl := []string{"/usr/bin/perl", "/usr/local/bin/serve", "7010"}
	for _, c := range []struct {
		command string
		args    []string
		want    bool
	}{
		{"/usr/local/bin/serve 7010", perl, true},
		{"/usr/local/bin/serve 7010 >/dev/null 2>&1 &", perl, true},
		{"/usr/local/bin/serve 7010 > /dev/null 2>&1", perl, true},
		{"pgrep -f 'serve 7010' >/dev/null || /usr/local/bin/serve 7010", perl, true},
		{"cd /srv; nohup serve 7010 &", perl, true},
		{"A=b exec /usr/local/bin/serve 7010", perl, true},
		{"timeout 5m /usr/local/bin/serve 7010", perl, true},
		{"if ! pgrep serve; then serve 7010; fi", perl, true},
		{"/usr/local/bin/serve 7011", perl, false},
		{"/usr/local/bin/serve 7010 7011", perl, false},
		{"/opt/serve 7010", perl, false},
		{"echo serve 7010", perl, false},
		{"find / -name serve 7010", perl, false},
		{"while true; do nc -l 1; done", []string{"/bin/sh", "-c", "while true; do nc -l 1; done"}, true},
		{"nc -l 1", []string{"nc", "-l", "1"}, true},
		{"nc -l 1", []string{"nc"}, false},
		{"backup", []string{"serve"}, false},
		{"serve", nil, false},
		{"serve", []string{""}, false},
	} {
		if got := (cronJob{command: c.command}).starts(c.args); got != c.want {
			t.Errorf("%q starts %q: got %v; want %v", c.command, c.args, got, c.want)
		}
	}
}

func FuzzCrontab(f *testing.F) {
	f.Add("@reboot x\n* * * * * y\n@reboot x", true)
	f.Add("a=b\r\n@reboot x\r\n", false)
	f.Fuzz(func(t *testing.T, text string, system bool) {
		for _, job := range parseCrontab(text, system) {
			job.starts([]string{"x"})
			p := Program{Kind: "cron", State: map[string]string{stateLines: job.line}}
			sameWithoutMarks(t, text, func(s string) (string, error) { return p.linesOff(s), nil }, p.mark())
			if !strings.Contains(text, "#firebreak ") && slices.ContainsFunc(parseCrontab(p.linesOff(text), system), func(j cronJob) bool { return j.line == job.line }) {
				t.Errorf("%q still counts in %q", job.line, p.linesOff(text))
			}
		}
	})
}
