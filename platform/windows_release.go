package platform

import (
	"fmt"
	"strings"
)

// windowsRelease is what a Windows host says of its release: values of
// HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion, as they stand there.
type windowsRelease struct {
	Build          string // CurrentBuild: "26100"
	Revision       uint64 // UBR: what the last cumulative update brought it to; 0 if unknown
	DisplayVersion string // "24H2"
	Edition        string // EditionID: "Professional"
	Installation   string // InstallationType: Client | Server | Server Core
	Product        string // ProductName
	Arch           string
	// Extended names licences of extended security updates that are installed and
	// active.
	Extended []string
}

// firstWindows11 is the build from which on Windows calls itself 10 in its
// ProductName, and is sold as 11.
const firstWindows11 = 22000

// os puts it into the form that other systems have. The version is that of the
// kernel, with which nobody disagrees: "10.0.26100.4351".
func (r windowsRelease) os() (OS, error) {
	var build int
	if _, err := fmt.Sscan(r.Build, &build); err != nil || build <= 0 {
		return OS{}, fmt.Errorf("read Windows release: the registry gives %q for the build", printable(r.Build))
	}
	version := fmt.Sprintf("%s.%d.%d", kernelOf(build), build, r.Revision)
	name := printable(r.Product)
	if r.Installation == "Client" && build >= firstWindows11 {
		name = strings.Replace(name, "Windows 10", "Windows 11", 1)
	}
	if name == "" {
		name = "Windows"
	}
	if r.Installation == "Client" && r.DisplayVersion != "" && !strings.Contains(name, r.DisplayVersion) {
		name += " " + printable(r.DisplayVersion)
	}
	return OS{
		ID: "windows", Version: version, Name: name, Codename: printable(r.DisplayVersion), Variant: printable(r.Edition),
		BuildID: fmt.Sprintf("%d.%d", build, r.Revision), Kernel: version, Arch: r.Arch, ExtendedSupport: r.Extended,
	}, nil
}

// kernelOf is the version of the kernel with that build: its first two numbers do
// not stand in the registry as they are.
func kernelOf(build int) string {
	switch {
	case build >= 10240:
		return "10.0"
	case build >= 9600:
		return "6.3"
	case build >= 9200:
		return "6.2"
	case build >= 7600:
		return "6.1"
	}
	return "6.0"
}
