package detect

import (
	"slices"
	"strings"

	"github.com/firebreak-sec/firebreak/configs"
	"github.com/firebreak-sec/firebreak/platform"
)

// claim is one product that a host can be judged as: what it says it is, or what
// its packages come from.
type claim struct {
	product  configs.Product
	version  string // as the product counts its versions, or ""
	codename string // looked for when there is no version, or ""
	build    string // Windows only
	edition  string // Windows only
	derived  bool   // the host goes by another name than the product
}

// edge is Alpine between two releases. It gives itself the number of the next.
const edge = "edge"

// claims returns what a host can be judged as, the closest first.
func claims(os platform.OS) []claim {
	if os.ID == "windows" {
		return []claim{windowsClaim(os)}
	}
	var out []claim
	if c, ok := ownClaim(os); ok {
		out = append(out, c)
	}
	if slices.Contains(os.IDLike, "arch") && os.BuildID == "rolling" {
		out = append(out, derivedFrom("arch-linux", ""))
	}
	codename := os.UpstreamCodename
	if codename == "" && (slices.Contains(os.IDLike, "debian") || slices.Contains(os.IDLike, "ubuntu")) {
		codename = os.Codename
	}
	if codename != "" && os.ID != "debian" && os.ID != "ubuntu" {
		out = append(out, derivedFrom("ubuntu", codename), derivedFrom("debian", codename))
	}
	return out
}

func derivedFrom(product, codename string) claim {
	p, _ := configs.ProductOf(product)
	return claim{product: p, codename: codename, derived: true}
}

// ownClaim is what a host is by its ID.
func ownClaim(os platform.OS) (claim, bool) {
	for _, p := range configs.Products() {
		derived := slices.Contains(p.Derived, os.ID)
		if !derived && !slices.Contains(p.IDs, os.ID) {
			continue
		}
		c := claim{product: p, version: os.Version, codename: os.Codename, derived: derived}
		switch {
		case p.Key == "debian":
			c.version = debianVersion(os)
			if c.version == "" && (strings.HasSuffix(os.DebianVersion, "/sid") || strings.HasSuffix(os.Name, "/sid")) {
				c.version = "sid"
			}
		case p.Key == "centos" && isStream(os):
			c.product, _ = configs.ProductOf("centos-stream")
		case p.Key == "linuxmint" && strings.HasPrefix(os.Name, "LMDE"):
			c.version = "lmde" + os.Version
		case p.Key == "alpine-linux" && strings.Contains(os.Version, "_alpha"):
			c.version = edge
		}
		return c, true
	}
	return claim{}, false
}

// isStream tells CentOS Stream from CentOS Linux: both have the ID centos, and the
// last CentOS Linux was 8.
func isStream(os platform.OS) bool {
	return strings.Contains(strings.ToLower(os.Name), "stream") ||
		configs.CompareVersions(os.Version, "9") >= 0
}

// debianVersion is VERSION_ID, unless there is none or /etc/debian_version tells
// of an older release: one package brings both files, so one of them was edited, and a host is
// not upgraded by an edit.
func debianVersion(os platform.OS) string {
	major, _, _ := strings.Cut(os.DebianVersion, ".")
	if major == "" || strings.Trim(major, "0123456789") != "" {
		return os.Version
	}
	if os.Version == "" || configs.CompareVersions(major, os.Version) < 0 {
		return major
	}
	return os.Version
}

// windowsClaim is what a Windows host is by its build and edition: the same build
// has different ends in different editions.
func windowsClaim(os platform.OS) claim {
	c := claim{version: os.Version}
	if parts := strings.Split(os.Version, "."); len(parts) > 2 {
		c.build = parts[2]
	}
	key := "windows"
	for _, e := range windowsEditions {
		if strings.HasPrefix(os.Variant, e.prefix) && (e.suffix == "" || strings.HasSuffix(os.Variant, e.suffix)) {
			c.edition, key = e.class, e.product
			break
		}
	}
	c.product, _ = configs.ProductOf(key)
	return c
}

// windowsEditions are the classes of the table that an EditionID of the registry
// belongs to; the first that fits counts.
var windowsEditions = []struct{ prefix, suffix, product, class string }{
	{"IoTEnterpriseS", "", "windows", "iot-enterprise-ltsc"},
	{"EnterpriseS", "", "windows", "enterprise-ltsc"},
	{"IoTEnterprise", "", "windows", "iot-enterprise"},
	{"Enterprise", "", "windows", "enterprise"},
	{"Education", "", "windows", "education"},
	{"IoTUAP", "", "windows", "iot-core"},
	{"Core", "", "windows", "home"},
	{"Professional", "", "windows", "pro"},
	{"ServerAzureStackHCI", "", "", ""}, // has a lifecycle of its own
	{"Server", "ACor", "windows-server", "semi-annual-channel"},
	{"Server", "", "windows-server", "ltsc"},
}

// match returns the release that is claimed.
func (c claim) match(releases []configs.Release) (configs.Release, bool) {
	if c.build != "" {
		return c.matchBuild(releases)
	}
	if len(releases) == 1 && releases[0].State == configs.Rolling {
		return releases[0], true
	}
	if c.version == edge {
		return configs.Release{Product: c.product.Key, Cycle: edge, State: configs.Rolling}, true
	}
	for _, version := range spellings(c.version) {
		for _, r := range releases {
			if r.Cycle == version {
				return r, true
			}
		}
	}
	if c.version == "" && c.codename != "" {
		for _, r := range releases {
			if word, _, _ := strings.Cut(strings.ToLower(r.Codename), " "); word == c.codename {
				return r, true
			}
		}
	}
	return configs.Release{}, false
}

func (c claim) matchBuild(releases []configs.Release) (configs.Release, bool) {
	var found configs.Release
	for _, r := range releases {
		classes := strings.Split(r.Edition, "|")
		exact := slices.Contains(classes, c.edition) || c.edition == "semi-annual-channel" && r.Edition == "annual-channel"
		if r.Build != c.build || !exact && r.Edition != "all" {
			continue
		}
		if found.Cycle == "" || exact && found.Edition == "all" || exact && r.Released.After(found.Released.Time) {
			found = r
		}
	}
	return found, found.Cycle != ""
}

// spellings are the ways in which a table may write a version, the closest first:
// "9.4" is in one of release 9, and "15" is 15.0.
func spellings(version string) []string {
	if version == "" {
		return nil
	}
	out := []string{version}
	for short := version; ; {
		dot := strings.LastIndexByte(short, '.')
		if dot <= 0 {
			break
		}
		short = short[:dot]
		out = append(out, short)
	}
	return append(out, version+".0")
}

// age says where a version that is in no row stands among the rows.
type age string

const (
	newer   age = "newer"   // than all of its line
	older   age = "older"   // than all
	between age = "between" // or not to be compared
)

// place compares a version that is in no row with the rows.
func (c claim) place(releases []configs.Release) age {
	if c.build != "" {
		return c.placeBuild(releases)
	}
	series := c.series(releases)
	if len(series) == 0 || digitless(c.version) {
		return between
	}
	compare := func(r configs.Release) int { return configs.CompareVersions(c.version, r.Cycle) }
	if compare(series[0]) < 0 {
		return older
	}
	if compare(series[len(series)-1]) > 0 {
		return newer
	}
	// A product may keep several lines alive, such as 15.7 beside 16.0.
	line := slices.DeleteFunc(slices.Clone(series), func(r configs.Release) bool { return major(r.Cycle) != major(c.version) })
	if len(line) > 0 && compare(line[len(line)-1]) > 0 {
		return newer
	}
	return between
}

// series are the rows whose cycles are written as the claimed version is: lmde7
// is no successor of 22.3, and "rolling" none of anything.
func (c claim) series(releases []configs.Release) []configs.Release {
	return slices.DeleteFunc(slices.Clone(releases), func(r configs.Release) bool {
		return digitless(r.Cycle) || letters(r.Cycle) != letters(c.version)
	})
}

func (c claim) placeBuild(releases []configs.Release) age {
	for _, r := range releases {
		if configs.CompareVersions(c.build, r.Build) <= 0 {
			return between
		}
	}
	return newer
}

// cycle is the version as far as support depends on it, by the example of the
// product's newest release: the 9 of 9.4, the 3.25 of 3.25.1.
func (c claim) cycle(releases []configs.Release) string {
	series := c.series(releases)
	if len(series) == 0 || c.build != "" {
		return c.version
	}
	depth := strings.Count(series[len(series)-1].Cycle, ".") + 1
	parts := strings.Split(c.version, ".")
	return strings.Join(parts[:min(depth, len(parts))], ".")
}

func major(version string) string {
	m, _, _ := strings.Cut(version, ".")
	return m
}

func letters(cycle string) string {
	return cycle[:len(cycle)-len(strings.TrimLeft(cycle, "abcdefghijklmnopqrstuvwxyz"))]
}

func digitless(version string) bool { return !strings.ContainsAny(version, "0123456789") }
