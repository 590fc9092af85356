package platform

import (
	"fmt"
	"strings"
)

// abilities are what the agent's rules may use of the kernel's nftables, beside
// what every kernel with nftables has.
type abilities struct {
	Owned     bool // tables that belong to a socket and outlive it (6.9)
	Bridge    bool // the bridge family
	Ingress   bool // frames as they come in
	Egress    bool // frames as they go out (5.16)
	AnyDevice bool // one chain of frames for every link there will be (6.17), and nobody whom that confuses
	Reject    bool // resets for connections that are not kept
	Groups    bool // the control group of a socket (5.13)
	Local     bool // whether a frame that comes in is for an address of this host
}

func everyAbility() abilities {
	return abilities{
		Owned: !faultLacks("owned"), Bridge: true, Ingress: true, Egress: true,
		AnyDevice: true, Reject: true, Groups: true, Local: true,
	}
}

// lacks says in sentences what an isolation cannot do without the abilities that
// are not there.
func (a abilities) lacks(iso Isolation) []string {
	var out []string
	for _, l := range []struct {
		missing  bool
		sentence string
	}{
		{!a.Owned, "another program with the rights of root can take the rules away, until the agent puts them back: this kernel cannot let tables belong to the agent"},
		{!a.Egress, "frames that root programs send past IP are not stopped: this kernel has no netdev egress hook"},
		{!a.Ingress, "what is sent to containers that share a network link by macvlan is not stopped: this kernel has no netdev ingress hook"},
		{!a.Bridge, "what containers or virtual machines on one bridge say to each other is not stopped: this kernel has no bridge rules"},
		{!a.Reject, "programs that try to connect wait instead of being refused at once: this kernel cannot reject"},
		{!a.Groups && len(iso.Units) > 0, fmt.Sprintf("services that should stay connected are cut off (%s): this kernel cannot match control groups", strings.Join(iso.Units, ", "))},
		{!a.Local && a.Ingress && keepsPrograms(iso), "a container that shares a network link by macvlan may receive packets: this kernel cannot tell there which are for this computer"},
	} {
		if l.missing {
			out = append(out, l.sentence)
		}
	}
	return out
}
