package platform

import "testing"

func TestWindowsRelease(t *testing.T) {
	tests := []struct {
		release       windowsRelease
		version, name string
	}{
		{windowsRelease{Build: "26100", Revision: 4351, DisplayVersion: "24H2", Edition: "Professional", Installation: "Client", Product: "Windows 10 Pro"}, "10.0.26100.4351", "Windows 11 Pro 24H2"},
		{windowsRelease{Build: "19045", Revision: 5011, DisplayVersion: "22H2", Edition: "Core", Installation: "Client", Product: "Windows 10 Home"}, "10.0.19045.5011", "Windows 10 Home 22H2"},
		{windowsRelease{Build: "26100", DisplayVersion: "24H2", Edition: "ServerStandard", Installation: "Server", Product: "Windows Server 2025 Standard"}, "10.0.26100.0", "Windows Server 2025 Standard"},
		{windowsRelease{Build: "7601", Edition: "Professional", Installation: "Client", Product: "Windows 7 Professional"}, "6.1.7601.0", "Windows 7 Professional"},
		{windowsRelease{Build: "9600", Installation: "Client", Product: "Windows 8.1\x1b[31m"}, "6.3.9600.0", "Windows 8.1 [31m"},
		{windowsRelease{Build: "30000"}, "10.0.30000.0", "Windows"},
	}
	for _, tt := range tests {
		got, err := tt.release.os()
		if err != nil || got.Version != tt.version || got.Name != tt.name || got.ID != "windows" || got.Variant != tt.release.Edition {
			t.Errorf("%+v: got %+v, %v", tt.release, got, err)
		}
	}
	for _, build := range []string{"", "x", "-1", "0"} {
		if got, err := (windowsRelease{Build: build}).os(); err == nil {
			t.Errorf("build %q: got %+v; want an error", build, got)
		}
	}
}
