package platform

import (
	"net/netip"
	"os"
	"testing"
)

func testFile(t testing.TB, name string) string {
	t.Helper()
	data, err := os.ReadFile("testdata/supervisors/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestDisableXinetd(t *testing.T) {
	text := testFile(t, "xinetd")
	for id, golden := range map[string]string{"echo-stream": "xinetd-closed-echo", "web": "xinetd-closed-web"} {
		got, err := disableXinetd(text, id, markOf("xinetd", id))
		if err != nil || got != testFile(t, golden) {
			t.Errorf("%s: got %v:\n%s", id, err, got)
		}
		entries, _, _ := parseXinetd(got)
		for _, e := range entries {
			if e.disabled() != (e.id() == id || e.id() == "off") {
				t.Errorf("%s closed: %s is disabled: %v", id, e.id(), e.disabled())
			}
		}
	}
	for _, id := range []string{"off", "none"} {
		if _, err := disableXinetd(text, id, markOf("xinetd", id)); err == nil {
			t.Errorf("%s is closed or not there", id)
		}
	}
}

func TestXinetdServes(t *testing.T) {
	entries, _, folders := parseXinetd(testFile(t, "xinetd"))
	if len(entries) != 4 || len(folders) != 1 || folders[0] != "/etc/xinetd.d" {
		t.Fatalf("got %+v, %v", entries, folders)
	}
	ports := parseServices([]byte("echo\t7/tcp\necho 7/udp\nhttp 80/tcp www # web\n"))
	for _, c := range []struct {
		l    Listener
		want string
	}{
		{Listener{Protocol: TCP, Port: 7}, "echo-stream"},
		{Listener{Protocol: UDP, Port: 7}, "echo-dgram"},
		{Listener{Protocol: TCP, Port: 8080, Address: netip.MustParseAddr("192.0.2.1")}, "web"},
		{Listener{Protocol: TCP, Port: 8080, Address: netip.MustParseAddr("192.0.2.2")}, ""},
		{Listener{Protocol: TCP, Port: 80}, ""},
	} {
		got := ""
		for _, e := range entries {
			if e.serves(c.l, ports) {
				got += e.id()
			}
		}
		if got != c.want {
			t.Errorf("%s %d: got %q; want %q", c.l.Protocol, c.l.Port, got, c.want)
		}
	}
}

func TestInetdServes(t *testing.T) {
	ports := parseServices([]byte("http 80/tcp www\ntftp 69/udp\n"))
	for line, want := range map[string]uint16{
		"www stream tcp nowait root /bin/x x":                    80,
		"192.0.2.1:www stream tcp6 nowait root /bin/x x":         80,
		"8080\tstream\ttcp\tnowait\troot\t/bin/x x":              8080,
		"#www stream tcp nowait root /bin/x x":                   0,
		"#<off># www stream tcp nowait root /bin/x x":            0,
		"www stream udp nowait root /bin/x x":                    0,
		"tftp dgram udp wait root /bin/x x":                      0,
		"www stream tcp":                                         0,
		"tcpmux/www stream tcp nowait root /bin/x x":             0,
		markOf("inetd", "x").off("www stream tcp nowait r /x x"): 0,
	} {
		for _, port := range []uint16{80, 8080, 69} {
			if got := inetdServes(line, Listener{Protocol: TCP, Port: port}, ports); got != (port == want) {
				t.Errorf("%q serves tcp %d: got %v", line, port, got)
			}
		}
	}
}

func FuzzDisableXinetd(f *testing.F) {
	f.Add(testFile(f, "xinetd"))
	f.Add("service web\n{\n}\n")
	f.Fuzz(func(t *testing.T, text string) {
		p := Program{Kind: "xinetd", Name: "web"}
		sameWithoutMarks(t, text, p.disable, markOf(p.Kind, p.Name))
	})
}
