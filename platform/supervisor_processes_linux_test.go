package platform

import "testing"

func TestInSession(t *testing.T) {
	line := func(exes ...string) (all []relative) {
		for _, exe := range exes {
			all = append(all, relative{processFacts: &processFacts{link: exe}})
		}
		return all
	}
	for name, c := range map[string]struct {
		below []relative // the supervisor
		want  bool
	}{
		"program":                        {line("/usr/bin/nc"), false},
		"program of a script":            {line("/usr/bin/nc", "/usr/bin/dash"), false},
		"sshd itself":                    {line("/usr/sbin/sshd"), false},
		"sshd that sshd started":         {line("/usr/sbin/sshd", "/usr/sbin/sshd"), false},
		"program of an SSH session":      {line("/usr/bin/nc", "/usr/bin/dash", "/usr/sbin/sshd", "/usr/sbin/sshd"), true},
		"program of a newer SSH":         {line("/usr/bin/nc", "/usr/lib/openssh/sshd-session", "/usr/sbin/sshd"), true},
		"program of a replaced sshd":     {line("/usr/bin/nc", "/usr/sbin/sshd (deleted)"), true},
		"program of a login at a tty":    {line("/usr/bin/nc", "/usr/bin/bash", "/usr/bin/login"), true},
		"the listener is the supervisor": {nil, false},
	} {
		if got := inSession(c.below); got != c.want {
			t.Errorf("%s: got %t; want %t", name, got, c.want)
		}
	}
}
