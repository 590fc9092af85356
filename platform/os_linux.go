package platform

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// maxOSRelease bounds an os-release file in bytes; real ones have some hundred.
const maxOSRelease = 64 << 10

// readOS reads the release of the system whose root file system is at root; ""
// is the host the program runs on. Only a missing or unreadable os-release is an
// error: all else is left empty.
func readOS(root string) (OS, error) {
	files, err := openRooted(root)
	if err != nil {
		return OS{}, fmt.Errorf("open root file system: %w", err)
	}
	defer files.Close()
	var found OS
	data, modified, err := readOSRelease(files)
	if err != nil {
		return OS{}, err
	}
	found.release(parseOSRelease(data))
	found.Modified = modified
	if version, _, err := files.read("etc/debian_version", maxOSValue); err == nil {
		found.DebianVersion = strings.TrimSpace(printable(string(version)))
	}
	for _, product := range []string{"debian", "ubuntu"} {
		name := path.Join("usr/share/distro-info", product+".csv")
		if data, modified, err := files.read(name, maxDistroInfo); err == nil {
			found.Lifecycle = append(found.Lifecycle, LifecycleFile{
				Path: "/" + name, Product: product, Modified: modified.UTC(), Data: data,
			})
		}
	}
	found.ExtendedSupport = extendedSupport(files, time.Now())
	found.LastSync = files.newest(packageLists).UTC()
	if path.Clean("/"+root) == "/" {
		found.Kernel, found.Arch = uname()
	}
	return found, nil
}

// maxDistroInfo bounds a distro-info file in bytes; the largest today has 3 kB.
const maxDistroInfo = 64 << 10

// readOSRelease returns the first os-release file there is, and when it was
// modified; no time if that is a placeholder, as image builders leave it.
func readOSRelease(files rooted) ([]byte, time.Time, error) {
	for _, name := range []string{"etc/os-release", "usr/lib/os-release"} {
		data, modified, err := files.read(name, maxOSRelease)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, time.Time{}, fmt.Errorf("read OS release: %w", err)
		}
		if modified.Year() < firstOSRelease {
			modified = time.Time{}
		}
		return data, modified.UTC(), nil
	}
	return nil, time.Time{}, errors.New("read OS release: there is neither /etc/os-release nor /usr/lib/os-release")
}

// firstOSRelease is the year in which os-release was invented.
const firstOSRelease = 2012

// packageLists are what package managers write when they bring their lists up to
// date. Several keep the time at which the archive published the list instead of
// the time at which they fetched it; for a rolling release, which publishes
// daily, both come to the same.
var packageLists = []string{
	"var/lib/apt/lists/*Release", // InRelease, too
	"var/lib/apt/periodic/update-success-stamp",
	"var/lib/pacman/sync/*.db",
	"var/cache/dnf/*/repodata/repomd.xml",
	"var/cache/libdnf5/*/repodata/repomd.xml",
	"var/cache/yum/*/*/*/repomd.xml",
	"var/cache/zypp/raw/*/repodata/repomd.xml",
	"var/cache/apk/APKINDEX.*.tar.gz",
	"var/db/repos/gentoo/metadata/timestamp.chk",
	"var/db/xbps/*/*-repodata",
}

// uname returns the release of the running kernel and the architecture.
func uname() (kernel, arch string) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "", ""
	}
	return printable(unix.ByteSliceToString(u.Release[:])), unix.ByteSliceToString(u.Machine[:])
}

// release fills in what os-release says.
func (o *OS) release(vars map[string]string) {
	first := func(names ...string) string {
		for _, name := range names {
			if v := strings.TrimSpace(vars[name]); v != "" {
				return v
			}
		}
		return ""
	}
	o.ID = strings.ToLower(first("ID"))
	o.IDLike = strings.Fields(strings.ToLower(vars["ID_LIKE"]))
	o.Version = first("VERSION_ID")
	o.Name = first("PRETTY_NAME")
	if name := first("NAME"); o.Name == "" && name != "" {
		o.Name = strings.TrimSpace(name + " " + first("VERSION", "VERSION_ID"))
	}
	o.Codename = strings.ToLower(first("VERSION_CODENAME"))
	o.UpstreamCodename = strings.ToLower(first("UBUNTU_CODENAME", "DEBIAN_CODENAME"))
	o.Variant = first("VARIANT_ID")
	o.BuildID = first("BUILD_ID", "IMAGE_VERSION")
	o.SupportEnd = first("SUPPORT_END")
}
