package configs_test

import (
	"slices"
	"testing"

	"github.com/firebreak-sec/firebreak/configs"
)

// What is kept for everybody's programs is told to whoever writes the policy.
func TestWarnings(t *testing.T) {
	for _, c := range []struct {
		keep string
		want []string
	}{
		{"[hub, 10.0.0.5:443]", nil},
		{"[hub, user:rustdesk, unit:mesh.service]", []string{
			"user:rustdesk widens what gets out: while isolated, every program of this user can connect to anybody",
			"unit:mesh.service widens what gets out: while isolated, every program of this service can connect to anybody",
			"users and services that are kept are told apart by a mark on their packets: a program that runs as root can forge it and get out as well",
		}},
	} {
		p, err := configs.ParsePolicy([]byte("version: firebreak/v1\nisolation:\n  keep: "+c.keep+"\n"), "policy.yaml")
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Warnings(); !slices.Equal(got, c.want) {
			t.Errorf("%s: got %q; want %q", c.keep, got, c.want)
		}
	}
}
