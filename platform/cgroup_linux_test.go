package platform

import (
	"strings"
	"testing"
)

func TestPlaceIn(t *testing.T) {
	id := strings.Repeat("0123456789abcdef", 4)
	tests := []struct {
		name, cgroup string
		want         place
	}{
		{"a service", "0::/system.slice/ssh.service\n", place{unit: "ssh.service"}},
		{"of a template", "0::/system.slice/system-getty.slice/getty@tty1.service\n", place{unit: "getty@tty1.service"}},
		{"a service's own groups", "0::/system.slice/snap.lxd.service/lxd.scope\n", place{unit: "snap.lxd.service"}},
		{"hybrid", "12:memory:/system.slice\n1:name=systemd:/system.slice/nginx.service\n0::/system.slice/nginx.service\n", place{unit: "nginx.service"}},
		{"hybrid, version 2 unused", "9:name=systemd:/system.slice/nginx.service\n8:pids:/\n0::/\n", place{unit: "nginx.service"}},
		{"version 1", "9:name=systemd:/system.slice/nginx.service\n8:pids:/system.slice/x.service\n", place{unit: "nginx.service"}},
		{"a name the kernel could mistake", "0::/system.slice/_cpu.service\n", place{unit: "cpu.service"}},
		{"a transient scope", "0::/system.slice/run-r4f.scope\n", place{unit: "run-r4f.scope"}},
		{"the service manager", "0::/init.scope\n", place{}},
		{"a login", "0::/user.slice/user-1000.slice/session-3.scope\n", place{}},
		{"a user's service", "0::/user.slice/user-1000.slice/user@1000.service/app.slice/syncthing.service\n", place{userUnit: "syncthing.service"}},
		{"a user's program", "0::/user.slice/user-1000.slice/user@1000.service/app.slice/app-org.chromium-77.scope\n", place{userUnit: "app-org.chromium-77.scope"}},
		{"a user's service manager", "0::/user.slice/user-1000.slice/user@1000.service/init.scope\n", place{userUnit: "init.scope"}},
		{"docker", "0::/system.slice/docker-" + id + ".scope\n", place{container: "0123456789ab"}},
		{"docker, version 1", "4:memory:/docker/" + id + "\n1:name=systemd:/docker/" + id + "\n", place{container: "0123456789ab"}},
		{"podman", "0::/machine.slice/libpod-" + id + ".scope/container\n", place{container: "0123456789ab"}},
		{"a user's podman", "0::/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-" + id + ".scope\n", place{container: "0123456789ab"}},
		{"podman's monitor", "0::/machine.slice/libpod-conmon-" + id + ".scope\n", place{unit: "libpod-conmon-" + id + ".scope"}},
		{"kubernetes", "0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-" + id + ".scope\n", place{container: "0123456789ab"}},
		{"kubernetes by cgroupfs", "0::/kubepods/besteffort/pod3c1f/" + id + "\n", place{container: "0123456789ab"}},
		{"nspawn", `0::/machine.slice/machine-web\x2d1.scope/payload/system.slice/smbd.service` + "\n", place{container: "web-1"}},
		{"nspawn as a service", "0::/machine.slice/systemd-nspawn@web.service/payload/init.scope\n", place{container: "web"}},
		{"lxc", "0::/lxc.payload.web/system.slice/ssh.service\n", place{container: "web"}},
		{"a virtual machine", `0::/machine.slice/machine-qemu\x2d1\x2dwin.scope/libvirt` + "\n", place{unit: `machine-qemu\x2d1\x2dwin.scope`}},
		{"no service manager", "0::/\n", place{}},
		{"outside of our view", "0::/../../other.service\n", place{unit: "other.service"}},
		{"nothing", "", place{}},
		{"nonsense", "0:\n:::\n1:name=systemd\n", place{}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := placeIn(test.cgroup); got != test.want {
				t.Errorf("got %+v; want %+v", got, test.want)
			}
		})
	}
}

func FuzzPlaceIn(f *testing.F) {
	f.Add("1:name=systemd:/machine.slice/machine-a\\x2d.scope\n0::/lxc/x/docker-0.scope\n")
	f.Fuzz(func(t *testing.T, text string) {
		if p := placeIn(text); p.container != "" && p.unit != "" {
			t.Errorf("got %+v; want no unit in a container", p)
		}
	})
}
