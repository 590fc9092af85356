package platform

import (
	"path"
	"strings"
	"time"
)

// maxAptSource bounds a file of package sources or of Ubuntu Pro's status.
const maxAptSource = 256 << 10

// extendedSupport looks for evidence that the host is entitled to support past
// the end of the updates that everybody gets, as of now.
func extendedSupport(files rooted, now time.Time) []string {
	var found []string
	if infra, legacy := ubuntuPro(files, now); infra || legacy {
		found = append(found, "ubuntu-pro")
		if legacy {
			found = append(found, "ubuntu-pro-legacy")
		}
	}
	if hasAptSource(files, "deb.freexian.com/extended-lts") {
		found = append(found, "elts")
	}
	if repos, _, err := files.read("etc/yum.repos.d/redhat.repo", 4<<20); err == nil && rhelELS(string(repos)) {
		found = append(found, "rhel-els")
	}
	if hasRegular(files, "etc/products.d/*[Ll][Tt][Ss][Ss]*.prod") {
		found = append(found, "sles-ltss")
	}
	return found
}

// ubuntuPro tells whether the updates of Ubuntu Pro are switched on, and those of
// its legacy add-on. Its own status counts; where that cannot be read, so do its
// package sources.
func ubuntuPro(files rooted, now time.Time) (infra, legacy bool) {
	if data, _, err := files.read("var/lib/ubuntu-advantage/status.json", maxAptSource); err == nil {
		if infra, legacy, err := parseProStatus(data, now); err == nil {
			return infra, legacy
		}
	}
	return hasAptSource(files, "esm.ubuntu.com/infra"), hasAptSource(files, "esm.ubuntu.com/infra-legacy")
}

// hasAptSource tells whether apt takes packages from a place, such as
// "esm.ubuntu.com/infra".
func hasAptSource(files rooted, place string) bool {
	names := append([]string{"etc/apt/sources.list"}, files.match("etc/apt/sources.list.d/*.list")...)
	for _, name := range append(names, files.match("etc/apt/sources.list.d/*.sources")...) {
		data, _, err := files.read(name, maxAptSource)
		if err != nil {
			continue
		}
		uris := aptLines
		if path.Ext(name) == ".sources" {
			uris = aptStanzas
		}
		for _, uri := range uris(string(data)) {
			if _, rest, _ := strings.Cut(uri, "://"); strings.HasPrefix(strings.TrimSuffix(rest, "/")+"/", place+"/") {
				return true
			}
		}
	}
	return false
}

func hasRegular(files rooted, pattern string) bool {
	for _, name := range files.match(pattern) {
		if _, info, err := files.stat(name); err == nil && info.Mode().IsRegular() {
			return true
		}
	}
	return false
}
