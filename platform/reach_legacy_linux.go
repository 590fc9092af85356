package platform

import (
	"os"
	"slices"
	"strings"

	"github.com/firebreak-sec/firebreak/platform/hostwall"
)

// legacyTables are the tables of iptables of old, as a directory of /proc lists
// them for one network namespace. A kernel without them has no such files.
func legacyTables(dir string) hostwall.Legacy {
	return hostwall.Legacy{V4: linesOf(dir + "/ip_tables_names"), V6: linesOf(dir + "/ip6_tables_names")}
}

func linesOf(path string) []string {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil // who may not read it may not read nftables either, which is said
	}
	lines := strings.Fields(string(text))
	slices.Sort(lines)
	return lines
}
