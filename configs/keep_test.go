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
		"https://hub:443", "user@host:22", "*.example.org:443", "[::]/0", "127.0.0.0/8:22",
	} {
		if got, err := configs.ParseKeep(text); err == nil {
			t.Errorf("%q was taken for %+v", text, got)
		}
	}
}

func network(prefix string, port uint16, protocol string, inbound bool) configs.Keep {
	return configs.Keep{Kind: configs.KeepNetwork, Network: netip.MustParsePrefix(prefix), Port: port, Protocol: protocol, Inbound: inbound}
}

func FuzzKeep(f *testing.F) {
	for _, seed := range []string{"hub", "10.0.0.0/8:22 in", "[2001:db8::]/32:53/udp", "mdm.example.org:443 out"} {
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
