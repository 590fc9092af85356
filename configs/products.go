package configs

import "strings"

// Product is what all releases of one operating system have in common, as far as
// their support goes. It is what the table of lifecycles does not say.
type Product struct {
	Key  string   // the table's name for it, "debian"
	Name string   // what people call it, "Debian"
	IDs  []string // what it calls itself in os-release
	// Derived are the os-release IDs of systems that take its packages and count
	// their versions as it does.
	Derived  []string
	Extended Extension // what follows the security updates for everybody
	Further  Extension // what follows that, and only if it is found on the host
	Upgrade  Path
}

// Extension is support past the end of the updates that everybody gets. The zero
// Extension is none.
type Extension struct {
	Kind string // lts | esm | esu: how a policy calls it
	Name string // "long-term support", "Ubuntu Pro"
	Free bool   // everybody has it
	// Evidence is what platform reports when it finds the host entitled to it; ""
	// is that a host cannot show it.
	Evidence string
}

// Path says which later releases a host can be upgraded to.
type Path string

// The paths.
const (
	UpgradeAny     Path = ""        // any later release
	UpgradeLTS     Path = "lts"     // from an LTS release only to an LTS release
	UpgradeUnknown Path = "unknown" // it depends on what this table does not know, such as hardware
)

var products = []Product{
	{
		Key: "debian", Name: "Debian", IDs: []string{"debian"},
		Extended: Extension{Kind: "lts", Name: "long-term support", Free: true},
		Further:  Extension{Name: "paid extended long-term support", Evidence: "elts"},
	},
	{
		Key: "ubuntu", Name: "Ubuntu", IDs: []string{"ubuntu"}, Upgrade: UpgradeLTS,
		Extended: Extension{Kind: "esm", Name: "Ubuntu Pro", Evidence: "ubuntu-pro"},
		Further:  Extension{Name: "the Ubuntu Pro legacy add-on", Evidence: "ubuntu-pro-legacy"},
	},
	{
		Key: "rhel", Name: "Red Hat Enterprise Linux", IDs: []string{"rhel"},
		Extended: Extension{Kind: "esm", Name: "the Extended Life Cycle add-on", Evidence: "rhel-els"},
	},
	{
		Key: "sles", Name: "SUSE Linux Enterprise Server", IDs: []string{"sles", "sles_sap"}, Derived: []string{"sled"},
		Extended: Extension{Kind: "esm", Name: "SUSE's long-term service pack support", Evidence: "sles-ltss"},
	},
	{
		Key: "oracle-linux", Name: "Oracle Linux", IDs: []string{"ol"},
		Extended: Extension{Kind: "esm", Name: "Oracle's extended support"},
	},
	{
		Key: "windows", Name: "Windows", IDs: []string{"windows"}, Upgrade: UpgradeUnknown,
		Extended: Extension{Kind: "esu", Name: "Extended Security Updates", Evidence: "esu"},
	},
	{
		Key: "windows-server", Name: "Windows Server", Upgrade: UpgradeUnknown,
		Extended: Extension{Kind: "esu", Name: "Extended Security Updates", Evidence: "esu"},
	},
	{
		Key: "fedora", Name: "Fedora", IDs: []string{"fedora"},
		Derived: []string{"fedora-asahi-remix", "bazzite", "bluefin", "aurora", "nobara", "ultramarine"},
	},
	{Key: "centos", Name: "CentOS", IDs: []string{"centos"}},
	{Key: "centos-stream", Name: "CentOS Stream"},
	{Key: "rocky-linux", Name: "Rocky Linux", IDs: []string{"rocky"}},
	{Key: "almalinux", Name: "AlmaLinux", IDs: []string{"almalinux"}},
	{Key: "opensuse", Name: "openSUSE Leap", IDs: []string{"opensuse-leap", "opensuse"}},
	{Key: "alpine-linux", Name: "Alpine Linux", IDs: []string{"alpine"}},
	{Key: "amazon-linux", Name: "Amazon Linux", IDs: []string{"amzn"}},
	{Key: "linuxmint", Name: "Linux Mint", IDs: []string{"linuxmint"}},
	{Key: "pop-os", Name: "Pop!_OS", IDs: []string{"pop"}, Upgrade: UpgradeLTS},
	{Key: "nixos", Name: "NixOS", IDs: []string{"nixos"}},
	{Key: "macos", Name: "macOS", IDs: []string{"macos"}, Upgrade: UpgradeUnknown},
	{
		Key: "opensuse-tumbleweed", Name: "openSUSE Tumbleweed",
		IDs: []string{"opensuse-tumbleweed", "opensuse-slowroll", "opensuse-microos", "opensuse-aeon", "opensuse-kalpa"},
	},
	{Key: "arch-linux", Name: "Arch Linux", IDs: []string{"arch", "archarm"}},
	{Key: "gentoo", Name: "Gentoo", IDs: []string{"gentoo"}},
	{Key: "kali-linux", Name: "Kali Linux", IDs: []string{"kali"}},
	{Key: "void-linux", Name: "Void Linux", IDs: []string{"void"}},
}

// Products returns all products of the built-in table.
func Products() []Product { return append([]Product(nil), products...) }

// ProductOf returns the product of that key.
func ProductOf(key string) (Product, bool) {
	for _, p := range products {
		if p.Key == key {
			return p, true
		}
	}
	return Product{}, false
}

// Title is how people call a release: "Debian 12", "Ubuntu 24.04 LTS",
// "Windows 11 25H2".
func (p Product) Title(r Release) string {
	switch {
	case r.Cycle == "sid":
		return "Debian testing or unstable"
	case r.State == Rolling:
		return p.Name
	case strings.HasPrefix(r.Cycle, "lmde"):
		return "LMDE " + strings.TrimPrefix(r.Cycle, "lmde")
	case p.Key == "sles" && CompareVersions(r.Cycle, "16") < 0:
		return p.Name + " " + strings.TrimSuffix(strings.Replace(r.Cycle, ".", " SP", 1), " SP0")
	case p.Key == "ubuntu" && r.LTS:
		return p.Name + " " + r.Cycle + " LTS"
	}
	var words []string
	for word := range strings.SplitSeq(r.Cycle, "-") {
		spoken, ok := spokenCycle[word]
		if !ok {
			spoken = strings.ToUpper(word)
		}
		if spoken != "" {
			words = append(words, spoken)
		}
	}
	return p.Name + " " + strings.Join(words, " ")
}

// spokenCycle is how the parts of a Windows cycle are said aloud; the channels
// that go without saying are empty.
var spokenCycle = map[string]string{"w": "", "e": "", "lts": "LTSC", "iot": "IoT", "ac": "", "sac": ""}
