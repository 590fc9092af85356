//go:build linux

package lab_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/firebreak-sec/firebreak/lab"
)

// upheavals are what other programs of root do to nftables on an isolated host.
// None of them is wrong by itself, but for the last ones.
var upheavals = []struct{ name, script string }{
	{"flush", "nft flush ruleset"},
	{"flush, again and again", "for i in 1 2 3 4 5 6 7 8 9 10; do nft flush ruleset; done"},
	{"iptables", "iptables -F; iptables -X; iptables -t nat -F; ip6tables -F"},
	{"nftables.service", "systemctl restart nftables"},
	{"firewalld starts", "systemctl restart firewalld"},
	{"firewalld reloads", "firewall-cmd --reload"},
	{"firewalld reloads all", "firewall-cmd --complete-reload"},
	{"firewalld stops", "systemctl stop firewalld"},
	{"ufw starts", "ufw --force enable"},
	{"ufw reloads", "ufw reload"},
	{"ufw stops", "ufw disable"},
	{"docker's chains", "iptables -N DOCKER; iptables -I FORWARD -j DOCKER; iptables -t nat -A PREROUTING -p tcp --dport 8080 -j DNAT --to 10.77.0.11:22"},
	{"iptables-restore", "iptables-save | iptables-restore"},
	{"accepting everything earlier", "nft -f /root/accept.nft"},
	{"our tables are deleted", "for f in inet bridge netdev; do nft delete table $f firebreak; done; true"},
	{"our chains are flushed", "nft flush table inet firebreak; nft flush table netdev firebreak; true"},
	{"killed, then flush", "systemctl kill --signal=KILL firebreak; nft flush ruleset"},
}

const acceptAll = `
table inet evil {
	chain in { type filter hook prerouting priority -450; policy accept; accept; }
	chain through { type filter hook forward priority -450; policy accept; accept; }
	chain outward { type filter hook output priority -450; policy accept; accept; }
}
table bridge evil {
	chain through { type filter hook forward priority -450; policy accept; accept; }
}
table netdev evil {
	chain in { type filter hook ingress device "host0" priority -450; policy accept; accept; }
	chain outward { type filter hook egress device "host0" priority -450; policy accept; accept; }
}
`

// TestOtherFirewalls isolates a host on which other firewalls live, and lets
// them do what they do, while packets are sent in and out all the time.
func TestOtherFirewalls(t *testing.T) {
	t.Parallel()
	n := lab.NewNetwork(t)
	h := n.BootWith(t, "alpha", "firewalld", "ufw", "iptables")
	s, w := stage(t, n, h)
	h.Put(t, "/root/accept.nft", 0o600, []byte(acceptAll))
	h.InstallAgent(t, leakPolicy)
	h.Run(t, "systemctl", "start", "firewalld")
	h.Run(t, "sh", "-ec", "nft list ruleset >/dev/null; iptables -A INPUT -p tcp --dport 8081 -j ACCEPT; nft add set ip docker seen '{ type ipv4_addr; flags timeout; }'; nft add element ip docker seen '{ 192.0.2.1 timeout 1h }'")
	before := ""
	lab.Eventually(t, 10*time.Second, func() error { // firewalld goes on for a moment after its start
		last := before
		time.Sleep(300 * time.Millisecond)
		if before = foreign(t, h); before != last {
			return errors.New("the other rules still change")
		}
		return nil
	})
	send := startSending(t, s)

	h.Firebreak(t, "isolate", "--reason", "test")
	if now := foreign(t, h); now != before {
		t.Errorf("isolating changed rules of others:%s", changes(before, now))
	}
	h.Firebreak(t, "release")
	if now := foreign(t, h); now != before {
		t.Errorf("releasing changed rules of others:%s", changes(before, now))
	}
	h.Run(t, "systemctl", "stop", "firewalld") // its rules would hide what gets through
	if open := passing(w, send, 200*time.Millisecond); len(open) == 0 {
		t.Fatal("nothing got through although nothing stops it: the test is blind")
	}

	h.Firebreak(t, "isolate", "--reason", "test")
	disturb(t, h, w, send, 0)
	if err := n.Management.Connect(h.IPv4, 22); err != nil {
		t.Errorf("after all that management does not get in: %v", err)
	}
	lab.Eventually(t, 20*time.Second, func() error { // it was killed, and is started again
		out, errs, code := h.TryFirebreak("status", "--json")
		if code > 1 || !strings.Contains(out, `"state": "isolated"`) {
			return fmt.Errorf("firebreak status: exit code %d: %s%s", code, out, errs)
		}
		return nil
	})
	h.Firebreak(t, "release")
	for _, family := range []string{"inet", "bridge", "netdev"} {
		h.Try("nft", "delete", "table", family, "evil")
	}
	if open := passing(w, send, 200*time.Millisecond); len(open) == 0 {
		t.Error("released, and nothing gets through")
	}
}

// repairTime is how long a host may be open where its kernel cannot keep others
// from the rules.
const repairTime = 100 * time.Millisecond

// TestOtherFirewallsUnowned is the same where the kernel takes tables for nobody's
// own: there the agent must see that its rules went, and put them back.
func TestOtherFirewallsUnowned(t *testing.T) {
	t.Parallel()
	n := lab.NewNetwork(t)
	h := n.BootWith(t, "alpha", "firewalld", "ufw", "iptables")
	s, w := stage(t, n, h)
	h.Put(t, "/root/accept.nft", 0o600, []byte(acceptAll))
	h.Put(t, "/etc/systemd/system/firebreak.service.d/lacks.conf", 0o644, []byte("[Service]\nEnvironment=FIREBREAK_FAULT_LACKS=owned\n"))
	h.InstallAgent(t, leakPolicy)
	h.Put(t, "/usr/local/bin/firebreak", 0o755, faultBinary(t))
	h.Firebreak(t, "restart")
	send := startSending(t, s)
	h.Firebreak(t, "isolate", "--reason", "test")
	if text := h.Run(t, "nft", "list", "table", "inet", "firebreak"); strings.Contains(text, "flags owner") {
		t.Fatalf("the table has an owner: %s", text)
	}
	disturb(t, h, w, send, repairTime)
}

// disturb does one upheaval after the other, each of which may open the host
// for most.
func disturb(t *testing.T, h *lab.Host, w *lab.Watch, send *atomic.Int64, most time.Duration) {
	t.Helper()
	for _, u := range upheavals {
		t.Run(u.name, func(t *testing.T) {
			if most > 0 && strings.HasPrefix(u.name, "killed") {
				return // nobody is there to repair it
			}
			if most > 0 && strings.HasSuffix(u.name, "again and again") {
				most *= 10 // each flush opens it anew
			}
			began, sent := time.Now(), send.Load()
			out, errs, code := h.Try("sh", "-c", u.script)
			time.Sleep(200 * time.Millisecond)
			leaked := leakKeep.Forbids(w.Since(began))
			open := longest(leaked)
			if len(leaked) > 0 && most > 0 {
				t.Logf("open for %s", open)
			}
			if len(leaked) > 0 && open >= most {
				t.Errorf("%d packets got through, for %s at a time:%s", len(leaked), open, show(leaked))
			}
			if send.Load() == sent {
				t.Error("nothing was sent meanwhile")
			}
			if code != 0 && !strings.HasPrefix(u.name, "our") {
				t.Errorf("exit code %d: %s%s", code, out, errs)
			}
		})
	}
}

// passing is what gets through for a while, counted from now.
func passing(w *lab.Watch, sent *atomic.Int64, wait time.Duration) []lab.Packet {
	began := time.Now()
	for start := sent.Load(); sent.Load() == start; {
		time.Sleep(time.Millisecond)
	}
	time.Sleep(wait)
	return leakKeep.Forbids(w.Since(began))
}

// longest is the longest time for which packets got through, one soon after the
// other.
func longest(packets []lab.Packet) time.Duration {
	const pause = 25 * time.Millisecond
	most, since := time.Duration(0), 0
	for i, p := range packets {
		if i > 0 && p.At.Sub(packets[i-1].At) > pause {
			since = i
		}
		most = max(most, p.At.Sub(packets[since].At))
	}
	return most
}

// startSending sends in and out, a packet of each kind every other millisecond,
// until the test ends. It returns how many were sent.
func startSending(t *testing.T, s *scene) *atomic.Int64 {
	t.Helper()
	m := marked(len(vectors))
	host, attacker := s.host, s.attacker
	host.times, attacker.times = 1, 1
	var ports atomic.Uint32 // each segment has its own, or their resets could not be told apart
	nextPort := func() uint16 { return uint16(30000 + ports.Add(1)%30000) }
	once := []func() error{
		func() error { return host.datagram(s.attacker.v4, m.port, 0, m.text) },
		func() error { return host.datagram(s.attacker.v6, m.port, 0, m.text) },
		func() error { return host.segment(s.host.v4, nextPort(), s.attacker.v4, m) },
		func() error {
			return host.frames(false, frame(s.attacker.mac, s.host.mac, 0x88b5, m.text))
		},
		func() error { return attacker.datagram(s.host.v4, m.port, 0, m.text) },
		func() error { return attacker.datagram(s.host.v6, m.port, 0, m.text) },
		func() error { return attacker.segment(s.attacker.v4, nextPort(), s.host.v4, m) },
	}
	stop := make(chan struct{})
	var running sync.WaitGroup
	sent := &atomic.Int64{}
	for _, f := range once {
		running.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if err := f(); err != nil {
					t.Errorf("send: %v", err)
					return
				}
				sent.Add(1)
				time.Sleep(2 * time.Millisecond)
			}
		})
	}
	t.Cleanup(func() { close(stop); running.Wait() })
	return sent
}

// foreign are the rules that are not Firebreak's, without what changes by itself:
// counters, and what is left of a timeout.
func foreign(t *testing.T, h *lab.Host) string {
	t.Helper()
	var list struct {
		Objects []map[string]map[string]any `json:"nftables"`
	}
	if err := json.Unmarshal([]byte(h.Run(t, "nft", "-j", "list", "ruleset")), &list); err != nil {
		t.Fatalf("read nft's list: %v", err)
	}
	var b strings.Builder
	for _, object := range list.Objects {
		for kind, o := range object {
			if kind == "metainfo" || o["table"] == "firebreak" || kind == "table" && o["name"] == "firebreak" {
				continue
			}
			text, err := json.Marshal(map[string]any{kind: still(o)})
			if err != nil {
				t.Fatal(err)
			}
			b.Write(append(text, '\n'))
		}
	}
	return b.String()
}

// changes lists the lines that only one of two texts has.
func changes(before, now string) string {
	var b strings.Builder
	for _, side := range []struct{ sign, text, other string }{{"-", before, now}, {"+", now, before}} {
		others := strings.Split(side.other, "\n")
		for line := range strings.Lines(side.text) {
			if !slices.Contains(others, strings.TrimSuffix(line, "\n")) {
				fmt.Fprintf(&b, "\n%s%s", side.sign, strings.TrimSuffix(line, "\n"))
			}
		}
	}
	return b.String()
}

// still takes out of nft's JSON what moves by itself.
func still(value any) any {
	switch v := value.(type) {
	case map[string]any:
		for key, part := range v {
			if key == "packets" || key == "bytes" || key == "expires" {
				delete(v, key)
				continue
			}
			v[key] = still(part)
		}
	case []any:
		for i := range v {
			v[i] = still(v[i])
		}
	}
	return value
}
