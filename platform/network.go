package platform

import "net/netip"

// Network is what isolating the host depends on, beside its sockets.
type Network struct {
	Links  []Interface    `json:"links"`  // of the host's own namespace, but for lo
	Mounts []NetworkMount `json:"mounts"` // file systems that need the network
	// Logins are the services beside files that user accounts come from, as
	// nsswitch.conf names them: "sss", "ldap", "winbind".
	Logins []string `json:"logins"`
	// Away are physical links that are in another network namespace: "eth1 (in
	// container web)". Isolating the host does not reach them.
	Away []string `json:"away"`
	// Flowtables are the nftables flowtables, "inet fw4 ft": what they forward
	// passes no chain.
	Flowtables []string `json:"flowtables"`
}

// Interface is one network interface.
type Interface struct {
	Name  string `json:"name"`
	Index int    `json:"index"`
	Kind  string `json:"kind"` // as the kernel names it: "wireguard", "tun", "veth", "bridge"; "" is a plain NIC
	Up    bool   `json:"up"`
	// Tunnel is true if what it carries leaves the host inside other packets;
	// Outer is where those go, as far as that can be known.
	Tunnel bool             `json:"tunnel"`
	Outer  []netip.AddrPort `json:"outer"`
}

// NetworkMount is a file system that is on a server, or on a disk that is.
type NetworkMount struct {
	Path   string     `json:"path"`   // where it is mounted: "/home"
	Kind   string     `json:"kind"`   // "nfs4", "cifs", "iscsi"
	Server netip.Addr `json:"server"` // not valid: not known
	Port   uint16     `json:"port"`   // 0: not known
}
