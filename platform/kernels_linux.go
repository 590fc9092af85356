package platform

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// readReboots reads what of a host's system is newer on disk than it runs: the
// kernel, and what packages ask a reboot for. Of another root file system nothing
// runs.
func readReboots(root string) (RunningCode, error) {
	files, err := openRooted(root)
	if err != nil {
		return RunningCode{}, fmt.Errorf("open file system: %w", err)
	}
	defer files.Close()
	var code RunningCode
	if root != "" {
		return code, nil
	}
	var name syscall.Utsname
	if err := syscall.Uname(&name); err != nil {
		return code, fmt.Errorf("ask for kernel: %w", err)
	}
	running := kernelVersion{release: utsText(name.Release[:]), build: utsText(name.Version[:])}
	code.Kernel = running.release
	if newest := newestKernel(files, running); newest.newerThan(running) {
		code.NewerKernel = newest.String()
	}
	code.RebootAsked = rebootAsked(files)
	return code, nil
}

func utsText[T int8 | uint8](field []T) string {
	var text []byte
	for _, c := range field {
		if c == 0 {
			break
		}
		text = append(text, byte(c))
	}
	return string(text)
}

// kernelVersion is a kernel as it names itself: its release "6.1.0-28-amd64", and
// its build "#1 SMP PREEMPT_DYNAMIC Debian 6.1.119-1 (2024-11-22)". A security
// update of Debian may keep the release and change the build.
type kernelVersion struct{ release, build string }

func (k kernelVersion) String() string {
	if p := k.packageVersion(); p != "" {
		return k.release + " (" + p + ")"
	}
	return k.release
}

// packageVersion is the version of the package that a build names, as those of
// Debian do; "" if it names none.
func (k kernelVersion) packageVersion() string {
	_, rest, ok := strings.Cut(k.build, " Debian ")
	if !ok {
		return ""
	}
	return strings.Fields(rest + " ")[0]
}

// flavour is what kernels have in common that replace each other: "amd64" of
// "6.1.0-28-amd64", "cloud-amd64", "x86_64".
func (k kernelVersion) flavour() string {
	i := strings.LastIndexByte(k.release, '-')
	if i < 0 {
		return ""
	}
	last := k.release[i+1:]
	if dot := strings.LastIndexByte(last, '.'); dot >= 0 { // 6.8.5-301.fc40.x86_64
		return last[dot+1:]
	}
	if before := strings.LastIndexByte(k.release[:i], '-'); before >= 0 && !startsWithDigit(k.release[before+1:i]) {
		last = k.release[before+1:] // 6.1.0-28-cloud-amd64
	}
	return last
}

func startsWithDigit(s string) bool { return s != "" && s[0] >= '0' && s[0] <= '9' }

func (k kernelVersion) newerThan(other kernelVersion) bool {
	if k.release == "" {
		return false
	}
	if order := compareReleases(k.release, other.release); order != 0 {
		return order > 0
	}
	mine, its := k.packageVersion(), other.packageVersion()
	return mine != "" && its != "" && compareReleases(mine, its) > 0
}

// compareReleases compares two releases piece by piece: numbers by their value,
// the rest as text.
func compareReleases(a, b string) int {
	x, y := pieces(a), pieces(b)
	for i := range min(len(x), len(y)) {
		m, errM := strconv.Atoi(x[i])
		n, errN := strconv.Atoi(y[i])
		order := cmp.Compare(x[i], y[i])
		if errM == nil && errN == nil {
			order = cmp.Compare(m, n)
		}
		if order != 0 {
			return order
		}
	}
	return cmp.Compare(len(x), len(y))
}

// pieces splits text where digits begin and end, and drops what is between.
func pieces(s string) []string {
	var all []string
	kind := func(r byte) int {
		switch {
		case r >= '0' && r <= '9':
			return 1
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z':
			return 2
		}
		return 0
	}
	for i := 0; i < len(s); {
		j := i + 1
		for j < len(s) && kind(s[j]) == kind(s[i]) {
			j++
		}
		if kind(s[i]) != 0 {
			all = append(all, s[i:j])
		}
		i = j
	}
	return all
}

// newestKernel returns the newest kernel that is installed of the flavour that
// runs; the zero kernelVersion if there is none, as in a container.
func newestKernel(files rooted, running kernelVersion) kernelVersion {
	var newest kernelVersion
	for _, name := range files.match("boot/vmlinuz-*") {
		k := kernelVersion{release: strings.TrimPrefix(path.Base(name), "vmlinuz-")}
		if strings.Contains(k.release, "rescue") || k.flavour() != running.flavour() {
			continue
		}
		if of, ok := kernelOfImage(files, name); ok && of.release == k.release {
			k = of
		}
		if newest.release == "" || k.newerThan(newest) {
			newest = k
		}
	}
	return newest
}

// kernelOfImage reads what an x86 boot image says of itself: the number at 0x20e,
// plus 0x200, is where its version string lies (Documentation/arch/x86/boot.rst).
// Images of other processors say nothing.
func kernelOfImage(files rooted, name string) (kernelVersion, bool) {
	head, err := files.head(name, 64<<10)
	if err != nil || len(head) < 0x210 || string(head[0x202:0x206]) != "HdrS" {
		return kernelVersion{}, false
	}
	at := int(binary.LittleEndian.Uint16(head[0x20e:])) + 0x200
	if at >= len(head) {
		return kernelVersion{}, false
	}
	text, _, ended := bytes.Cut(head[at:], []byte{0})
	release, rest, ok := strings.Cut(string(text), " ")
	_, build, found := strings.Cut(rest, "#")
	return kernelVersion{release: printable(release), build: printable("#" + build)}, ended && ok && found
}

// rebootAsked reads who asks for a reboot: packages of Debian and Ubuntu leave a
// file and their names.
func rebootAsked(files rooted) []string {
	if _, _, err := files.stat("run/reboot-required"); err != nil {
		return nil
	}
	data, _, err := files.read("run/reboot-required.pkgs", 64<<10)
	if err != nil {
		data = nil
	}
	names := strings.Fields(printable(strings.ReplaceAll(string(data), "\n", " ")))
	slices.Sort(names)
	if names = slices.Compact(names); len(names) == 0 {
		return []string{"a package that does not say its name"}
	}
	return names
}
