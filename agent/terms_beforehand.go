package agent

import (
	"fmt"
	"slices"
	"time"

	"github.com/firebreak-sec/firebreak/actions"
	"github.com/firebreak-sec/firebreak/agent/detect"
	"github.com/firebreak-sec/firebreak/agent/policy"
	"github.com/firebreak-sec/firebreak/configs"
	"github.com/firebreak-sec/firebreak/platform"
)

// TermsBeforehand is what policy says about how actions are done, for somebody
// who only wants to see what they would do. Nothing is asked of the network, so
// whom policy keeps by name is not in the isolation: open says so, one sentence
// each.
func TermsBeforehand(p configs.Policy, s platform.Snapshot) (terms actions.Terms, open []string) {
	rules := p.Isolation
	iso, names := keep(rules.Keep)
	for _, k := range names {
		open = append(open, fmt.Sprintf("%s is kept as well: its address is looked up when isolating", k))
	}
	users, err := keptUsers(rules.Keep)
	if err != nil {
		open = append(open, err.Error())
	}
	if slices.Contains(rules.Keep, string(configs.KeepDNS)) {
		iso.Resolvers = platform.Resolvers()
	}
	iso.Users, iso.Lease, iso.Closed, iso.Max = users, time.Duration(rules.Lease), rules.OnLeaseEnd == "closed", time.Duration(rules.Max)
	return actions.Terms{
		Isolation: iso, Protected: policy.Protect(p, s), Allows: detect.Allows(p, s), Logins: logins(detect.Protected(p, s)),
		Contact: contact(p.Contact),
	}, open
}
