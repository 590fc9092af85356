package platform

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestNewestKernel(t *testing.T) {
	tests := []struct {
		name    string
		running kernelVersion
		images  map[string]string // release: what its image says of itself; "" is an image that says nothing
		want    string            // "" is none newer
	}{
		{"the same", kernelVersion{"6.1.0-28-amd64", "#1 SMP PREEMPT_DYNAMIC Debian 6.1.119-1 (2024-11-22)"}, map[string]string{
			"6.1.0-28-amd64": "6.1.0-28-amd64 (debian-kernel@lists.debian.org) #1 SMP PREEMPT_DYNAMIC Debian 6.1.119-1 (2024-11-22)",
		}, ""},
		{"a newer build of the same release", kernelVersion{"6.1.0-28-amd64", "#1 SMP PREEMPT_DYNAMIC Debian 6.1.119-1 (2024-11-22)"}, map[string]string{
			"6.1.0-28-amd64": "6.1.0-28-amd64 (debian-kernel@lists.debian.org) #1 SMP PREEMPT_DYNAMIC Debian 6.1.124-1 (2025-01-12)",
		}, "6.1.0-28-amd64 (6.1.124-1)"},
		{"9 before 10", kernelVersion{release: "6.1.0-9-amd64"}, map[string]string{"6.1.0-9-amd64": "", "6.1.0-10-amd64": ""}, "6.1.0-10-amd64"},
		{"another flavour", kernelVersion{release: "6.1.0-9-amd64"}, map[string]string{"6.1.0-9-amd64": "", "6.1.0-10-rt-amd64": "", "6.1.0-10-cloud-amd64": ""}, ""},
		{"of a cloud", kernelVersion{release: "6.1.0-9-cloud-amd64"}, map[string]string{"6.1.0-10-cloud-amd64": "", "6.1.0-11-amd64": ""}, "6.1.0-10-cloud-amd64"},
		{"Ubuntu", kernelVersion{release: "6.8.0-45-generic"}, map[string]string{"6.8.0-45-generic": "", "6.8.0-106-generic": "", "6.8.0-200-lowlatency": ""}, "6.8.0-106-generic"},
		{"Fedora, over a release", kernelVersion{release: "6.8.5-301.fc40.x86_64"}, map[string]string{"6.8.5-301.fc40.x86_64": "", "6.11.4-201.fc41.x86_64": "", "0-rescue-1234.x86_64": ""}, "6.11.4-201.fc41.x86_64"},
		{"older ones left over", kernelVersion{release: "6.8.0-106-generic"}, map[string]string{"6.8.0-45-generic": ""}, ""},
		{"none installed, as in a container", kernelVersion{release: "6.18.44"}, nil, ""},
		{"of nobody's package", kernelVersion{release: "6.18.44-own"}, map[string]string{"6.1.0-10-amd64": ""}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			root := t.TempDir()
			for release, says := range tt.images {
				writeImage(t, filepath.Join(root, "boot", "vmlinuz-"+release), says)
			}
			files, err := openRooted(root)
			if err != nil {
				t.Fatal(err)
			}
			defer files.Close()
			var got string
			if newest := newestKernel(files, tt.running); newest.newerThan(tt.running) {
				got = newest.String()
			}
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// writeImage makes a file with the head of a boot image.
func writeImage(t *testing.T, path, says string) {
	t.Helper()
	image := make([]byte, 0x400)
	if says != "" {
		copy(image[0x202:], "HdrS")
		binary.LittleEndian.PutUint16(image[0x20e:], 0x100)
		copy(image[0x300:], says)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, image, 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestRebootAsked(t *testing.T) {
	tests := []struct {
		name  string
		files map[string]string
		want  []string
	}{
		{"nobody", nil, nil},
		{"names without the flag are left over", map[string]string{"reboot-required.pkgs": "dbus\n"}, nil},
		{"by name, once", map[string]string{"reboot-required": "*** restart\n", "reboot-required.pkgs": "linux-image\ndbus\nlinux-image\n"}, []string{"dbus", "linux-image"}},
		{"without a name", map[string]string{"reboot-required": ""}, []string{"a package that does not say its name"}},
		{"nothing for a terminal", map[string]string{"reboot-required": "", "reboot-required.pkgs": "a\x1b[31mb\n"}, []string{"[31mb", "a"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			root := t.TempDir()
			if err := os.Mkdir(filepath.Join(root, "run"), 0o755); err != nil {
				t.Fatal(err)
			}
			for name, text := range tt.files {
				if err := os.WriteFile(filepath.Join(root, "run", name), []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			files, err := openRooted(root)
			if err != nil {
				t.Fatal(err)
			}
			defer files.Close()
			if got := rebootAsked(files); !slices.Equal(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}
