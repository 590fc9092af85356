package main

import (
	"strings"
	"testing"

	"github.com/firebreak-sec/firebreak/agent/localapi"
)

func TestScrubTakesOutWhoseComputerItIs(t *testing.T) {
	status := localapi.Status{Host: "lena-t14", Threats: []localapi.Threat{{
		Subject: localapi.Subject{Port: &localapi.PortSubject{User: ptr("svc-redis")}},
	}}, Flags: []localapi.Flag{{Told: []string{"lena"}}}}
	s := newScrubber("lena-t14", status)
	for text, want := range map[string]string{
		"undo by jd (uid 1000)":                             "undo by [person] (uid 1000)",
		"isolated by lena as root (uid 0)":                  "isolated by [person] (uid 0)",
		"lena-t14, user svc-redis":                          "[name], user [name]",
		`"exe": "/home/lena/bin/x"`:                         `"exe": "/home/[person]/bin/x"`,
		"reached 192.0.2.7:22 and fe80::1%eth0":             "reached [address]:22 and [address]",
		"from 192.0.2.7, 2001:db8::7. [2001:db8::7]:22":     "from [address], [address]. [[address]]:22",
		"dial 2001:db8::7: refused":                         "dial [address]: refused",
		"on 127.0.0.1, [::] and 0.0.0.0 at 16:38:12":        "on 127.0.0.1, [::] and 0.0.0.0 at 16:38:12",
		"- {port: 445, owner: jd, reason: printer}":         "- {port: 445, owner: [person], reason: printer}",
		"/etc/firebreak/policy.yaml of root, version 1.2.3": "/etc/firebreak/policy.yaml of root, version 1.2.3",
	} {
		if got := string(s.scrub([]byte(text))); got != want {
			t.Errorf("scrub(%q):\ngot  %q\nwant %q", text, got, want)
		}
	}
}

func FuzzScrub(f *testing.F) {
	f.Add("by jd (uid 1000) from 192.0.2.7 in /home/jd")
	s := newScrubber("host", localapi.Status{})
	f.Fuzz(func(t *testing.T, text string) {
		once := s.scrub([]byte(text))
		if strings.Contains(string(once), "/home/jd/") {
			t.Errorf("%q still names a home folder", once)
		}
	})
}
