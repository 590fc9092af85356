package actions

import (
	"fmt"
	"path"
	"strings"

	"github.com/firebreak-sec/firebreak/platform"
)

// guardedUnits are units without which a workstation does not work or cannot be
// helped, as path.Match patterns, with what they are for. Those of users' own
// service managers are among them.
var guardedUnits = []struct{ pattern, why string }{
	{"systemd-*", "part of the operating system"},
	{"init.scope", "part of the operating system"},
	{"dbus*", "what the programs of this computer talk to each other through"},
	{"user@*", "the whole session of a user"},
	{"NetworkManager*", "this computer's network"},
	{"networking.service", "this computer's network"},
	{"ifup@*", "this computer's network"},
	{"dhcpcd*", "this computer's network"},
	{"wpa_supplicant*", "this computer's network"},
	{"display-manager.service", "the login screen"},
	{"gdm*.service", "the login screen"},
	{"sddm.service", "the login screen"},
	{"lightdm.service", "the login screen"},
	{"getty@*", "the login screen"},
	{"org.gnome.Shell*", "the desktop of a user"},
	{"gnome-session*", "the desktop of a user"},
	{"plasma-*", "the desktop of a user"},
	{"firebreak*", "this agent"},
}

// guardedPrograms are programs of the system that may run in no unit of their
// own, with what they are for.
var guardedPrograms = []struct{ pattern, why string }{
	{"Xorg", "the screen of this computer"},
	{"Xwayland", "the screen of this computer"},
	{"gnome-shell", "the desktop of a user"},
	{"kwin_*", "the desktop of a user"},
	{"sddm*", "the login screen"},
	{"gdm*", "the login screen"},
	{"lightdm*", "the login screen"},
	{"systemd-resolved", "this computer's own name server"},
	{"systemd-networkd", "this computer's network"},
	{"NetworkManager", "this computer's network"},
	{"nm-dhcp-helper", "this computer's network"},
	{"dhclient", "this computer's network"},
	{"dhcpcd", "this computer's network"},
}

// systemFolders are where the programs of the system are: who may write there
// needs no name to hide behind.
var systemFolders = []string{"/usr/", "/bin/", "/sbin/", "/lib/"}

// guardProgram says why the holder of a socket is never ended; "" if it may be.
func guardProgram(o platform.Owner) string {
	if o.Container != "" || !fromSystem(o.Exe) {
		return ""
	}
	name := path.Base(o.Exe)
	if o.Unit == "" && (name == "sshd" || name == "sshd-session") {
		return "the SSH session of somebody who is logged in"
	}
	for _, g := range guardedPrograms {
		if ok, err := path.Match(g.pattern, name); err == nil && ok {
			return g.why
		}
	}
	return ""
}

func fromSystem(exe string) bool {
	for _, folder := range systemFolders {
		if strings.HasPrefix(exe, folder) && !strings.HasPrefix(exe, "/usr/local/") {
			return true
		}
	}
	return false
}

// refusedUnit refuses a unit that is guarded, or that something guarded needs.
func refusedUnit(protected Protected, u platform.Unit) string {
	if why := guard(protected, u.Name); why != "" {
		return fmt.Sprintf("%s is never stopped: %s", u.Name, why)
	}
	for _, name := range u.RequiredBy {
		if why := guard(protected, name); why != "" {
			return fmt.Sprintf("%s is not stopped: %s needs it, which is %s", u.Name, name, why)
		}
	}
	return ""
}

// guard says why a unit is never stopped; "" if it may be.
func guard(protected Protected, unit string) string {
	for _, pattern := range protected.Units {
		if ok, err := path.Match(pattern, unit); err == nil && ok || pattern == strings.TrimSuffix(unit, path.Ext(unit)) {
			return "protected by policy"
		}
	}
	for _, g := range guardedUnits {
		if ok, err := path.Match(g.pattern, unit); err == nil && ok {
			return g.why
		}
	}
	return ""
}
