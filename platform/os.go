package platform

import "time"

// OS is what the operating system says of its own release. All fields may be
// empty: they are as the host has them, not yet judged.
type OS struct {
	ID         string   `json:"id"`      // os-release ID, "debian"; "windows" on Windows
	IDLike     []string `json:"id_like"` // os-release ID_LIKE
	Version    string   `json:"version"` // os-release VERSION_ID, "12"
	Name       string   `json:"name"`    // os-release PRETTY_NAME
	Codename   string   `json:"codename"`
	Variant    string   `json:"variant"`     // os-release VARIANT_ID; the edition on Windows
	BuildID    string   `json:"build_id"`    // os-release BUILD_ID or IMAGE_VERSION
	SupportEnd string   `json:"support_end"` // os-release SUPPORT_END, YYYY-MM-DD, as the vendor wrote it
	Kernel     string   `json:"kernel"`      // running kernel release
	Arch       string   `json:"arch"`
	// DebianVersion is /etc/debian_version: "12.11", or "trixie/sid" on testing
	// and unstable, which have no VERSION_ID.
	DebianVersion string `json:"debian_version"`
	// UpstreamCodename is UBUNTU_CODENAME or DEBIAN_CODENAME of a derivative.
	UpstreamCodename string `json:"upstream_codename"`
	// Lifecycle is the host's own lifecycle data, when it has any.
	Lifecycle []LifecycleFile `json:"lifecycle"`
	// ExtendedSupport names evidence found on the host of extended support that
	// this host is entitled to: "ubuntu-pro", "elts". Empty: none found.
	ExtendedSupport []string `json:"extended_support"`
	// LastSync is when the package lists were last brought up to date; zero if
	// unknown. It is how the age of a rolling release is judged.
	LastSync time.Time `json:"last_sync"`
}

// LifecycleFile is lifecycle data that the host carries itself, such as
// Debian's /usr/share/distro-info/debian.csv.
type LifecycleFile struct {
	Path     string    `json:"path"`
	Product  string    `json:"product"` // os-release ID it speaks about: "debian", "ubuntu"
	Modified time.Time `json:"modified"`
	Data     []byte    `json:"data"`
}
