package platform

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"syscall"

	"github.com/firebreak-sec/firebreak/platform/nft"
)

// refused tells whether the kernel may not know something that was asked of it.
func refused(err error) bool {
	for _, e := range []syscall.Errno{
		syscall.EOPNOTSUPP, syscall.EINVAL, syscall.ENOENT, syscall.EAFNOSUPPORT, syscall.EPROTONOSUPPORT,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// libraries are where the distributions keep the library that nft(8) and firewalld
// read nftables with.
func libraries() []string {
	return []string{"/usr/lib*/libnftnl.so.*", "/usr/lib/*/libnftnl.so.*", "/lib/libnftnl.so.*"}
}

// abilitiesHere are those that may be tried on this host. Chains that hang on
// every link are left to hosts without libnftnl: before 1.3.1 it loses such a
// chain and finds its rules, and nft(8) then takes that for a change in between
// and reads again, for ever. Its version cannot be told from its file. Where it
// is installed, each link has a chain, and one that is added gets its own as soon
// as the kernel tells of it.
func abilitiesHere() abilities {
	can := everyAbility()
	for _, pattern := range libraries() {
		if found, err := filepath.Glob(pattern); err != nil || len(found) > 0 {
			can.AnyDevice = false
		}
	}
	return can
}

// findAbilities tries each ability by itself, in a table that is never there:
// the kernel checks it all and takes it back.
func findAbilities(ctx context.Context, try func(context.Context, ...*nft.Table) error) (abilities, error) {
	var found abilities
	trials := []struct {
		ability *bool // nil: what nothing works without
		table   *nft.Table
	}{
		{nil, trialTable(nft.Inet, gate(nft.Output), nft.NewRule("", nft.Direction.Is([]byte{nft.Original}), nft.Then(nft.Counter{}), nft.Then(nft.Drop)))},
		{&found.Owned, ground{can: abilities{Owned: true}}.table(nft.Inet)},
		{&found.Bridge, trialTable(nft.Bridge, gate(nft.Forward), dropRule())},
		{&found.Ingress, trialTable(nft.Netdev, onLoopback(nft.NetdevIngress), dropRule())},
		{&found.Egress, trialTable(nft.Netdev, onLoopback(nft.NetdevEgress), dropRule())},
		{&found.Reject, trialTable(nft.Inet, gate(nft.Output), nft.NewRule("", nft.TransportProtocol.Is([]byte{nft.TCP}), nft.Then(nft.ResetTCP)))},
		{&found.Groups, trialTable(nft.Inet, gate(nft.Output), nft.NewRule("", nft.ControlGroup(1).Is(nft.Long(1)), nft.Then(nft.Accept)))},
		{&found.Local, trialTable(nft.Netdev, onLoopback(nft.NetdevIngress), nft.NewRule("", nft.AddressType.Is(nft.Word(ownAddress)), nft.Then(nft.Accept)))},
	}
	for _, t := range trials {
		t.table.Name = tableName + "_trial"
		err := try(ctx, t.table)
		switch {
		case err != nil && (t.ability == nil || !refused(err)):
			return abilities{}, fmt.Errorf("try what the kernel can: %w", err)
		case err == nil && t.ability != nil:
			*t.ability = true
		}
	}
	if !found.Ingress && !found.Egress {
		return found, nil
	}
	everyLink := gate(nft.NetdevIngress)
	if !found.Ingress {
		everyLink = gate(nft.NetdevEgress)
	}
	everyLink.AnyDevice = true
	err := try(ctx, trialTable(nft.Netdev, everyLink, dropRule()))
	if err != nil && !refused(err) {
		return abilities{}, fmt.Errorf("try what the kernel can: %w", err)
	}
	found.AnyDevice = err == nil
	return found, nil
}

func onLoopback(hook uint32) *nft.Hook {
	h := gate(hook)
	h.Device = "lo"
	return h
}

func trialTable(f nft.Family, h *nft.Hook, r nft.Rule) *nft.Table {
	return &nft.Table{Family: f, Name: tableName + "_trial", Chains: []nft.Chain{{Name: "trial", Hook: h, Rules: []nft.Rule{r}}}}
}

// and returns what both can.
func (a abilities) and(b abilities) abilities {
	return abilities{
		Owned: a.Owned && b.Owned, Bridge: a.Bridge && b.Bridge, Ingress: a.Ingress && b.Ingress, Egress: a.Egress && b.Egress,
		AnyDevice: a.AnyDevice && b.AnyDevice, Reject: a.Reject && b.Reject, Groups: a.Groups && b.Groups, Local: a.Local && b.Local,
	}
}
