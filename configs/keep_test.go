package configs_test

import (
	"net/netip"
	"testing"

	"github.com/firebreak-sec/firebreak/configs"
)

func TestKeep(t *testing.T) {
	for text, want := range map[string]configs.Keep{
		"hub":                    {Kind: configs.KeepHub},
		"dns":                    {Kind: configs.KeepDNS},
		"dhcp":                   {Kind: configs.KeepDHCP},
		"10.0.0.5:443":           network("10.0.0.5/32", 443, "tcp", false),
		"10.0.0.5:443 out":       network("10.0.0.5/32", 443, "tcp", false),
		"10.0.0.5:443/tcp":       network("10.0.0.5/32", 443, "tcp", false),
		"10.0.0.5:22 in":         network("10.0.0.5/32", 22, "tcp", true),
		"10.0.0.5:161/udp in":    network("10.0.0.5/32", 161, "udp", true),
		"10.0.0.0/8:22 in":       network("10.0.0.0/8", 22, "tcp", true),
		"10.0.0.0/8":             network("10.0.0.0/8", 0, "tcp", false),
		"10.0.0.5/udp":           network("10.0.0.5/32", 0, "udp", false),
		"0.0.0.0/0:22 in":        network("0.0.0.0/0", 22, "tcp", true),
		"[2001:db8::5]:443":      network("2001:db8::5/128", 443, "tcp", false),
		"[2001:db8::/32]:53/udp": network("2001:db8::/32", 53, "udp", false),
		"[2001:db8::]/32:22 in":  network("2001:db8::/32", 22, "tcp", true),
		"[fe80::1]":              network("fe80::1/128", 0, "tcp", false),
		"MDM.example.org.:443":   {Kind: configs.KeepName, Name: "mdm.example.org", Port: 443, Protocol: "tcp"},
		"user:rustdesk":          {Kind: configs.KeepUser, Name: "rustdesk"},
		"user:it-Support@corp":   {Kind: configs.KeepUser, Name: "it-Support@corp"},
		"unit:rustdesk.service":  {Kind: configs.KeepUnit, Name: "rustdesk.service"},
		"unit:agent@7.service":   {Kind: configs.KeepUnit, Name: "agent@7.service"},
		"users:443":              {Kind: configs.KeepName, Name: "users", Port: 443, Protocol: "tcp"},
		"backup:873 in":          {Kind: configs.KeepName, Name: "backup", Port: 873, Protocol: "tcp", Inbound: true},
	} {
		got, err := configs.ParseKeep(text)
		if err != nil || got != want {
			t.Errorf("%q: got %+v, %v; want %+v", text, got, err, want)
		}
		if again, err := configs.ParseKeep(got.String()); err != nil || again != got {
			t.Errorf("%q is written as %q, which is %+v, %v", text, got, again, err)
		}
	}
	for _, text := range []string{
		"", " ", "hub ", "HUB", ":443", "10.0.0.5:", "10.0.0.5:0", "10.0.0.5:443/sctp", "10.0.0.5:443  in", "10.0.0.5:443 in out",
		"10.0.0.5:443/udp/udp", "2001:db8::5", "[10.0.0.5]:443", "[2001:db8::5:443", "2001:db8::5]:443", "[fe80::1%eth0]:22",
		"[::ffff:10.0.0.5]:22", "224.0.0.1:5353/udp", "0.0.0.0:22", "10.0.0.0/33:22", "a..b:1", "-a:1", "a_b.example.org", "10.1:22", "0x7f.1:22",
		"user:", "user:root", "user:1000", "user:443", "user:rustdesk in", "user:a b", "user:-x", "user:../x", "USER:443", "user.:443", "unit:443",
		"unit:", "unit:rustdesk", "unit:.service", "unit:a/b.service", "unit:rustdesk.socket", "unit:x.service in", "usr:rustdesk", "units:x.service",
		"https://hub:443", "user@host:22", "*.example.org:443", "[::]/0", "127.0.0.0/8:22",
	} {
		if got, err := configs.ParseKeep(text); err == nil {
			t.Errorf("%q was taken for %+v", text, got)
		}
	}
}

// What a person is told who keeps a program and slips.
func TestKeepProgramErrors(t *testing.T) {
	for text, want := range map[string]string{
		"user:root":            `keep "user:root": every service of the system could connect to anybody: name a user who runs nothing else`,
		"user:1000":            `keep "user:1000": 1000 is a number: write the name of the user; a computer called user is written in full, user.example.org:443`,
		"user:it support":      `keep "user:it support": "it support" is not the name of a user: write user:NAME, such as user:rustdesk`,
		"usr:rustdesk":         `keep "usr:rustdesk": did you mean "user:rustdesk"?`,
		"units:x.service":      `keep "units:x.service": did you mean "unit:x.service"?`,
		"unit:rustdesk":        `keep "unit:rustdesk": only services can be kept: unit:rustdesk.service`,
		"unit:rustdesk.socket": `keep "unit:rustdesk.socket": only services can be kept: unit:rustdesk.service`,
		"unit:a/b":             `keep "unit:a/b": "a/b" is not the name of a service: write unit:NAME.service, such as unit:rustdesk.service`,
		"unit.:22":             `keep "unit.:22": a computer called unit is written in full, such as unit.example.org:443`,
	} {
		if _, err := configs.ParseKeep(text); err == nil || err.Error() != want {
			t.Errorf("%q: got %v; want %s", text, err, want)
		}
	}
}

func network(prefix string, port uint16, protocol string, inbound bool) configs.Keep {
	return configs.Keep{Kind: configs.KeepNetwork, Network: netip.MustParsePrefix(prefix), Port: port, Protocol: protocol, Inbound: inbound}
}

func FuzzKeep(f *testing.F) {
	for _, seed := range []string{"hub", "10.0.0.0/8:22 in", "[2001:db8::]/32:53/udp", "mdm.example.org:443 out", "user:rustdesk", "unit:rustdesk.service"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := configs.ParseKeep(text)
		if err != nil {
			return
		}
		if again, err := configs.ParseKeep(got.String()); err != nil || again != got {
			t.Errorf("%q is written as %q, which is %+v, %v", text, got, again, err)
		}
	})
}
