//go:build linux

package lab_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/firebreak-sec/firebreak/lab"
)

const containerPolicy = `version: firebreak/v1
name: lab
revision: 1
mode: enforce
ports:
  allow:
    - {port: 22, protocol: tcp}
  deny:
    - {port: "8081-8085", protocol: tcp, severity: critical, plan: shut}
    - {port: 8086, protocol: tcp, severity: high, plan: block}
plans:
  shut:  {mitigate: [block-port], remediate: [close-port], evidence: true}
  block: {mitigate: [block-port]}
limits: {disruptivePerHour: 50}
`

// openSettings is what of that a reboot takes away.
const openSettings = `
mkdir -p /run/settings /etc/containers
mount -t proc proc /run/settings
mount --bind /run/settings/sys/net /proc/sys/net
chmod 666 /dev/net/tun
`

// preparePodman makes podman work in a host that is a container itself: the
// kernel's settings of its own network can be written, no disk is needed for
// overlays, and there is an image that no registry has to be asked for.
const preparePodman = openSettings + `
rm -rf /var/lib/containers/storage /run/containers/storage
printf '[storage]\ndriver = "vfs"\nrunroot = "/run/containers/storage"\ngraphroot = "/var/lib/containers/storage"\n' >/etc/containers/storage.conf
loginctl enable-linger lena
cp -L /bin/busybox /tmp/busybox
tar -C /tmp -cf /tmp/image.tar busybox
chmod 644 /tmp/image.tar
podman import -q /tmp/image.tar localhost/web
podman network create --disable-dns --ipv6 --subnet 10.89.0.0/24 --subnet fd00:89::/64 one
podman network create --disable-dns --ipv6 --subnet 10.90.0.0/24 --subnet fd00:90::/64 two
`

// throughLena runs what follows as a user, whose service manager is there.
const throughLena = "systemd-run --wait --pipe --quiet --collect --uid=lena -p WorkingDirectory=/ --setenv=XDG_RUNTIME_DIR=/run/user/1000 --"

// inScope keeps what is started running after the command that starts it.
const inScope = "systemd-run --scope --quiet --collect --"

// webServer are the options and the image of a web server. The control groups of
// the lab cannot be divided further. The server is not the first process there,
// which no signal ends that it does not expect.
func webServer(port int) string {
	return fmt.Sprintf(" --cgroups=disabled --stop-signal=KILL localhost/web /busybox sh -c '/busybox httpd -f -p [::]:%d; exit 0'", port)
}

// TestContainersAreClosed opens ports by podman in the ways it has, and watches
// them from outside: closed at the container, silent, and put back by undo with
// the same container in the same state.
func TestContainersAreClosed(t *testing.T) {
	t.Parallel()
	n := lab.NewNetwork(t)
	h := n.BootWith(t, "alpha", "podman", "crun", "netavark", "iptables", "fuse-overlayfs", "slirp4netns", "uidmap", "busybox-static", "dbus-user-session")
	sh := func(script string) string { t.Helper(); return h.Run(t, "sh", "-ec", script) }
	sh(preparePodman)
	sh(throughLena + " podman import -q /tmp/image.tar localhost/web")
	sh(inScope + " podman run -d --name published --network=one -p 8081:80 --restart=on-failure:3" + webServer(80))
	sh(inScope + " podman run -d --name host --network=host --restart=always" + webServer(8082))
	sh(throughLena + " " + strings.Replace(inScope, "--scope", "--user --scope", 1) + " podman run -d --name rootless -p 8083:80" + webServer(80))
	sh(inScope + " podman run -d --name unit -p 8084:80" + webServer(80))
	sh("cd /etc/systemd/system; podman generate systemd --new --name --files unit; podman rm -f unit; sed -i s/no-conmon/disabled/ container-unit.service; systemctl daemon-reload; systemctl enable --now container-unit.service")
	sh(inScope + " podman run -d --name blocked --network=two -p 8086:80" + webServer(80))

	cases := []struct {
		name   string
		port   uint16
		podman string
		v6     bool
	}{
		{"published", 8081, "podman", true},
		{"host", 8082, "podman", true},
		{"rootless", 8083, throughLena + " podman", true},
		{"unit", 8084, "podman", false},
	}
	state := func(podman, name string) string {
		t.Helper()
		// A container that its unit makes has another ID each time.
		id := "{{.Id}}"
		if name == "unit" {
			id = ""
		}
		return sh(podman + " container inspect --format '" + id + " {{.State.Status}} {{.HostConfig.RestartPolicy}} {{.HostConfig.PortBindings}}' " + name)
	}
	open := func(port uint16, v6 bool) error {
		if err := n.Attacker.Connect(h.IPv4, port); err != nil {
			return fmt.Errorf("port %d over IPv4: %w", port, err)
		}
		if !v6 {
			return nil
		}
		if err := n.Attacker.Connect(h.IPv6, port); err != nil {
			return fmt.Errorf("port %d over IPv6: %w", port, err)
		}
		return nil
	}
	silent := func(port uint16) {
		t.Helper()
		if n.Attacker.Connect(h.IPv4, port) == nil || n.Attacker.Connect(h.IPv6, port) == nil {
			t.Errorf("port %d answers the attacker", port)
		}
	}
	before := map[string]string{}
	for _, c := range cases {
		lab.Eventually(t, 5*time.Second, func() error { return open(c.port, c.v6) })
		before[c.name] = state(c.podman, c.name)
	}
	lab.Eventually(t, 5*time.Second, func() error { return open(8086, true) })
	units := startsContainers(t, h)

	h.InstallAgent(t, containerPolicy)
	blocked := h.WaitThreat(t, 20*time.Second, "port 8086, mitigated", func(th lab.Threat) bool {
		return th.IsPort(8086) && th.Stage == "mitigated"
	})
	silent(8086) // over IPv6 there is no socket at all, only a rule that passes it on
	if state := sh("podman container inspect --format '{{.State.Status}}' blocked"); state != "running" {
		t.Errorf("a plan that only blocks made the container %s", state)
	}
	defer func() {
		if t.Failed() {
			t.Log(sh("podman ps -a; firebreak history; firebreak threats --all --json | grep -E '\"(id|port|process|exe|container|stage|netns|address|pid)\"'; nft list ruleset"))
		}
	}()
	for _, c := range cases {
		th := resolved(t, h, 30*time.Second, c.port)
		proved(t, th)
		silent(c.port)
		if running := sh(c.podman + " ps -q --filter name=" + c.name); running != "" {
			t.Errorf("%s still runs", c.name)
		}
	}
	if links := startsContainers(t, h); strings.Count(links, "UnitFileState=masked") != 2 {
		t.Errorf("units would start containers again: %s", links)
	}
	silent(8086)
	h.Firebreak(t, "undo", blocked.ID)
	lab.Eventually(t, 5*time.Second, func() error { return open(8086, true) })
	stayClosed(t, n, h, 8081, 8082, 8083, 8084)
	h.Reboot(t)
	sh(openSettings)
	h.WaitForAgent(t)
	h.Reaches(n.Attacker.IPv4, 9)
	for _, c := range cases {
		silent(c.port)
		th := resolved(t, h, 20*time.Second, c.port)
		h.Firebreak(t, "undo", th.ID)
		lab.Eventually(t, 10*time.Second, func() error { return open(c.port, c.v6) })
		if after := state(c.podman, c.name); after != before[c.name] {
			t.Errorf("undo of %s brought back %q; want %q", c.name, after, before[c.name])
		}
	}
	if after := startsContainers(t, h); after != units {
		t.Errorf("undo brought back:\n%s\nwant:\n%s", after, units)
	}
	time.Sleep(3 * time.Second)
	for _, c := range cases {
		if err := open(c.port, c.v6); err != nil {
			t.Errorf("the undo was undone within 3 s: %v", err)
		}
	}
}

// startsContainers is the state of the units that start containers.
func startsContainers(t *testing.T, h *lab.Host) string {
	t.Helper()
	state := strings.Split(unitState(t, h, "container-unit.service", "podman-restart.service"), "\n")
	return strings.Join(slices.DeleteFunc(state, func(line string) bool { return strings.Contains(line, "firebreak") }), "\n")
}
