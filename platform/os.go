package platform

import (
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

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
	// Modified is when the os-release file was last changed, which is as old as
	// SupportEnd is; zero if unknown.
	Modified time.Time `json:"modified,omitzero"`
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

// ReadOS reads the release of the system whose root file system is at root, such
// as a mounted image; "" is the host the program runs on. An error means that it
// has no os-release that could be read.
func ReadOS(root string) (OS, error) { return readOS(root) }

// maxOSValue bounds one value in bytes, so that what is shown and kept stays
// short.
const maxOSValue = 1 << 10

// parseOSRelease reads the assignments of an os-release file, by the rules of
// os-release(5): one to a line, quoted as in a shell, nothing expanded, the last
// of several wins. What a shell would not take as one plain assignment (spaces
// around "=", two quoted strings joined, a quote left open) is left out.
// Characters that cannot be printed become spaces.
func parseOSRelease(data []byte) map[string]string {
	vars := map[string]string{}
	text := strings.TrimPrefix(string(data), "\ufeff")
	for line := range strings.Lines(text) {
		line = strings.Trim(line, " \t\r\n")
		name, raw, ok := strings.Cut(line, "=")
		if !ok || !isVariable(name) {
			continue
		}
		value, ok := unquote(raw)
		if !ok || len(value) > maxOSValue {
			continue
		}
		vars[name] = printable(value)
	}
	return vars
}

func isVariable(name string) bool {
	for i, c := range []byte(name) {
		letter := c == '_' || 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return name != ""
}

// unquote takes a shell's quotes off one word. Words that stand unquoted beside
// each other are taken for one value, as systemd does, for there are
// distributions that write PRETTY_NAME so.
func unquote(raw string) (value string, ok bool) {
	if raw == "" {
		return "", true
	}
	if raw[0] == '\'' {
		value, rest, closed := strings.Cut(raw[1:], "'")
		return value, closed && endsWord(rest)
	}
	quoted := raw[0] == '"'
	if quoted {
		raw = raw[1:]
	} else if raw[0] == ' ' || raw[0] == '\t' {
		return "", false
	}
	var out strings.Builder
	for i := 0; i < len(raw); i++ {
		switch c := raw[i]; {
		case c == '"' && quoted:
			return out.String(), endsWord(raw[i+1:])
		case c == '"' || c == '\'' && !quoted:
			return "", false
		case c == '#' && !quoted && i > 0 && (raw[i-1] == ' ' || raw[i-1] == '\t'):
			return strings.TrimRight(out.String(), " \t"), true
		case c == '\\':
			if i+1 == len(raw) {
				return "", false
			}
			if quoted && !strings.ContainsRune("$`\"\\", rune(raw[i+1])) {
				out.WriteByte(c)
				continue
			}
			i++
			out.WriteByte(raw[i])
		default:
			out.WriteByte(c)
		}
	}
	return out.String(), !quoted
}

// endsWord tells whether nothing but a comment follows a closing quote.
func endsWord(rest string) bool {
	trimmed := strings.TrimLeft(rest, " \t")
	return trimmed == "" || trimmed[0] == '#' && trimmed != rest
}

// printable replaces what a terminal must not be sent by spaces.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
}
