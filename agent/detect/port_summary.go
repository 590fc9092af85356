package detect

import (
	"fmt"
	"strings"
	"unicode"

	"github.com/firebreak-sec/firebreak/platform"
)

// portName is what people call the service that usually has a port.
type portName struct {
	protocol    platform.Protocol // "" is both
	first, last uint16
	name        string
	programs    []string // parts of the names of programs that are this service
}

// portNames are the ports that a helpdesk hears about. Numbers are those of
// IANA's registry, or of the program's own documentation where IANA has none.
var portNames = []portName{
	{"tcp", 21, 21, "FTP", []string{"ftp"}},
	{"tcp", 22, 22, "SSH", []string{"ssh", "dropbear"}},
	{"tcp", 23, 23, "Telnet", []string{"telnet"}},
	{"tcp", 25, 25, "Mail", []string{"exim", "master", "sendmail", "smtp"}},
	{"", 53, 53, "DNS", []string{"dns", "named", "unbound", "systemd-resolve"}},
	{"udp", 69, 69, "TFTP", []string{"tftp", "dnsmasq"}},
	{"tcp", 80, 80, "Web server", []string{"nginx", "apache", "httpd", "caddy", "lighttpd"}},
	{"", 111, 111, "Portmapper", []string{"rpcbind", "portmap"}},
	{"tcp", 139, 139, "File sharing", []string{"smbd", "ksmbd", "system"}},
	{"udp", 161, 161, "SNMP", []string{"snmp"}},
	{"tcp", 443, 443, "Web server", []string{"nginx", "apache", "httpd", "caddy", "lighttpd"}},
	{"tcp", 445, 445, "File sharing", []string{"smbd", "ksmbd", "system"}},
	{"tcp", 512, 514, "Remote shell", []string{"rexec", "rlogin", "rsh", "in.r"}},
	{"", 631, 631, "Printing", []string{"cups"}},
	{"tcp", 873, 873, "rsync", []string{"rsync"}},
	{"tcp", 1433, 1433, "SQL Server", []string{"sqlservr"}},
	{"tcp", 1521, 1521, "Oracle Database", []string{"tnslsnr"}},
	{"", 2049, 2049, "NFS", []string{"nfs", "ganesha"}},
	{"tcp", 2375, 2376, "Docker", []string{"docker"}},
	{"tcp", 3306, 3306, "MySQL", []string{"mysql", "mariadb"}},
	{"", 3389, 3389, "Remote Desktop", []string{"rdp", "remote-desktop", "svchost"}},
	{"udp", 5353, 5353, "mDNS", []string{"avahi", "mdns", "systemd-resolve"}},
	{"tcp", 5432, 5432, "PostgreSQL", []string{"postgres"}},
	{"tcp", 5900, 5909, "VNC", []string{"vnc", "vino", "wayvnc", "krfb"}},
	{"tcp", 6000, 6063, "X11", []string{"xorg", "xwayland", "xvfb"}},
	{"tcp", 6379, 6379, "Redis", []string{"redis", "valkey"}},
	{"tcp", 9200, 9200, "Elasticsearch", []string{"java", "elastic", "opensearch"}},
	{"", 11211, 11211, "memcached", []string{"memcache"}},
	{"tcp", 27017, 27019, "MongoDB", []string{"mongo"}},
}

// portSummary says in one sentence what listens, and who can reach it:
// "Redis (port 6379) answers any network".
func portSummary(s platform.PortSubject) string {
	where := ""
	if s.Container != "" {
		where = " in container " + printable(s.Container)
	}
	return fmt.Sprintf("%s%s answers %s", portTitle(s), where, audience(s.Reach))
}

// portTitle names the service by the port if the program fits, and else by the
// program, so that a shell on port 6379 is not called Redis.
func portTitle(s platform.PortSubject) string {
	number := fmt.Sprintf("port %d", s.Port)
	if s.Protocol == platform.UDP {
		number = fmt.Sprintf("UDP port %d", s.Port)
	}
	program := programName(s)
	usual, fits := usualName(s, program)
	switch {
	case usual != "" && (fits || program == ""):
		return fmt.Sprintf("%s (%s)", usual, number)
	case program == "":
		return fmt.Sprintf("An unknown program (%s)", number)
	case usual != "":
		return fmt.Sprintf("%s (%s, usually %s)", program, number, usual)
	}
	return fmt.Sprintf("%s (%s)", program, number)
}

// programName is what a person would call the owner; "" if nobody is known. A
// socket that systemd holds is its unit's.
func programName(s platform.PortSubject) string {
	if s.Process == "systemd" {
		return printable(s.Unit)
	}
	return printable(s.Process)
}

func usualName(s platform.PortSubject, program string) (name string, fits bool) {
	for _, n := range portNames {
		if s.Port < n.first || n.last < s.Port || n.protocol != "" && n.protocol != s.Protocol {
			continue
		}
		for _, part := range n.programs {
			fits = fits || strings.Contains(strings.ToLower(program), part)
		}
		return n.name, fits
	}
	return "", false
}

func audience(reach platform.Reach) string {
	switch reach {
	case platform.ReachLoopback:
		return "only this computer"
	case platform.ReachLAN:
		return "the local network"
	}
	return "any network"
}

// printable makes a name safe to show: a process chooses its own, and could
// choose one that a terminal obeys.
func printable(name string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, name)
}
