package configs

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// checker finds what each value allows by itself and the whole forbids. It runs
// only on a file in which every single value was right.
type checker struct {
	*decoder
	policy Policy
}

func (c *checker) check() {
	if c.policy.Version == "" {
		c.report("", "version is missing", "begin with version: "+Version)
	}
	c.ports()
	c.plansExist("os.plan", c.policy.OS.Plan)
	c.plansExist("updates.plan", c.policy.Updates.Plan)
	for _, name := range slices.Sorted(maps.Keys(c.policy.Plans)) {
		c.plan(name, c.policy.Plans[name])
	}
	c.isolation()
	for i, path := range c.policy.Protect.Processes {
		c.executable(below("protect.processes", strconv.Itoa(i)), path)
	}
	for i, e := range c.policy.Except {
		c.exception(below("except", strconv.Itoa(i)), e)
	}
}

func (c *checker) ports() {
	c.plansExist("ports.default.plan", c.policy.Ports.Default.Plan)
	for i, rule := range c.policy.Ports.Allow {
		path := below("ports.allow", strconv.Itoa(i))
		c.rule(path, rule)
		c.denyOnly(path, rule)
	}
	for i := range c.policy.Ports.Deny {
		path := below("ports.deny", strconv.Itoa(i))
		rule := &c.policy.Ports.Deny[i]
		if rule.Severity == "" {
			rule.Severity = High
		}
		c.rule(path, *rule)
		c.plansExist(below(path, "plan"), rule.Plan)
		c.preempt(path, *rule)
		if rule.Protected != "" && !rule.Ports.Single() {
			c.report(below(path, "protected"), "protected: override is for a rule of one single port",
				"make a rule of its own for that port")
		}
	}
}

// rule checks what allow and deny rules have in common.
func (c *checker) rule(path string, r PortRule) {
	_, portGiven := c.where[below(path, "port")]
	if !portGiven && r.Protocol+r.Process+r.User+r.Unit+r.Reach+r.Namespaces+r.OS == "" {
		c.report(path, "this rule names nothing, so it would match every port", "name a port, a process, a user or a unit")
	}
	if portGiven && len(r.Ports) == 0 {
		c.report(below(path, "port"), "the list of ports is empty", "leave it out to mean every port")
	}
	c.executable(below(path, "process"), r.Process)
}

// denyOnly refuses the fields that have no meaning in an allow rule.
func (c *checker) denyOnly(path string, r PortRule) {
	for _, field := range []struct{ name, value string }{
		{"severity", string(r.Severity)}, {"plan", r.Plan}, {"preempt", r.Preempt}, {"protected", r.Protected},
	} {
		if field.value != "" {
			c.report(below(path, field.name), "an allow rule has no "+field.name, "it belongs to a deny rule")
		}
	}
}

// preempt checks a rule that shuts a port before anything listens on it: all
// that is known then is the number.
func (c *checker) preempt(path string, r PortRule) {
	if r.Preempt == "" {
		return
	}
	at := below(path, "preempt")
	plan := c.policy.Plans[r.Plan]
	switch {
	case len(r.Ports) == 0:
		c.report(at, "preempt needs a port: it shuts a number before anything listens there", "")
	case r.Process+r.User+r.Unit != "":
		c.report(at, "preempt cannot tell who will listen", "leave out process, user and unit, or preempt")
	case r.Reach == "loopback" || r.Reach == "any":
		c.report(at, "preempt cannot tell from where a port will be reachable", "leave out reach, or preempt")
	case r.Plan == "":
		c.report(at, "preempt needs a plan: a deny rule without one only reports", "")
	case plan.Approve != "" && plan.Approve != "none":
		c.report(at, fmt.Sprintf("plan %s waits for approval, so it never preempts", quote(r.Plan)), "leave preempt out, or approve")
	case plan.Mode == Audit && c.policy.Mode == Enforce:
		c.report(at, fmt.Sprintf("plan %s is in audit, so it never preempts", quote(r.Plan)), "leave preempt out, or mode")
	}
}

func (c *checker) plansExist(path, name string) {
	if _, ok := c.policy.Plans[name]; name != "" && !ok {
		c.report(path, "there is no plan "+quote(name), suggest(name, slices.Sorted(maps.Keys(c.policy.Plans))))
	}
}

func (c *checker) plan(name string, p Plan) {
	path := below("plans", name)
	c.actions(below(path, "mitigate"), p.Mitigate, "mitigation")
	c.actions(below(path, "remediate"), p.Remediate, "remediation")
	c.actions(below(path, "escalate.mitigate"), p.Escalate.Mitigate, "mitigation")
	if len(p.Mitigate)+len(p.Remediate)+len(p.Escalate.Mitigate) == 0 {
		c.report(path, fmt.Sprintf("plan %s does nothing", quote(name)), "name an action under mitigate or remediate")
	}
	if p.Mode == Enforce && c.policy.Mode == Audit {
		c.report(below(path, "mode"), "a plan cannot enforce in a policy whose mode is audit: it may only weaken it",
			"say mode: enforce for the policy, and mode: audit for the plans that should wait")
	}
	if p.Window != "" {
		if _, err := ParseWindow(p.Window); err != nil {
			c.report(below(path, "window"), err.Error(), "")
		}
	}
	if (p.Escalate.After > 0) != (len(p.Escalate.Mitigate) > 0) {
		c.report(below(path, "escalate"), "escalate needs both after and mitigate",
			"such as {after: 60d, mitigate: [restrict-host]}")
	}
	c.takesOver(name, p)
}

// actions checks a list of actions of one kind.
func (c *checker) actions(path string, names []string, kind string) {
	for i, name := range names {
		at := below(path, strconv.Itoa(i))
		known := slices.IndexFunc(ActionNames, func(a ActionName) bool { return a.Name == name })
		switch {
		case known < 0:
			c.report(at, "there is no action "+quote(name), suggest(name, actionsOf(kind)))
		case ActionNames[known].Kind != kind:
			c.report(at, fmt.Sprintf("%s is a %s: it cannot stand under %s", name, ActionNames[known].Kind, verbOf(kind)),
				"write it under "+verbOf(ActionNames[known].Kind))
		case slices.Contains(names[:i], name):
			c.report(at, name+" is here twice", "")
		}
	}
}

func verbOf(kind string) string {
	if kind == "mitigation" {
		return "mitigate"
	}
	return "remediate"
}

func actionsOf(kind string) []string {
	var names []string
	for _, a := range ActionNames {
		if a.Kind == kind {
			names = append(names, a.Name)
		}
	}
	return names
}

// takesOver checks a plan that replaces another one when its threat comes back.
func (c *checker) takesOver(name string, p Plan) {
	path := below("plans", name)
	if (p.On == "") != (p.Times == 0) {
		c.report(path, "on and times belong together", "such as on: shut, times: 3")
		return
	}
	if p.On == "" {
		return
	}
	c.plansExist(below(path, "on"), p.On)
	for at, steps := p.On, 0; at != "" && steps <= len(c.policy.Plans); steps++ {
		if at == name {
			c.report(below(path, "on"), fmt.Sprintf("plan %s would take over from itself", quote(name)), "")
			return
		}
		at = c.policy.Plans[at].On
	}
	for _, other := range slices.Sorted(maps.Keys(c.policy.Plans)) {
		q := c.policy.Plans[other]
		if other < name && q.On == p.On && q.Times == p.Times {
			c.report(below(path, "times"), fmt.Sprintf("plan %s already takes over from %s at that time", quote(other), quote(p.On)), "")
		}
	}
}

func (c *checker) isolation() {
	iso := c.policy.Isolation
	for i, keep := range iso.Keep {
		if _, err := ParseKeep(keep); err != nil {
			c.report(below("isolation.keep", strconv.Itoa(i)), err.Error(), "")
		}
	}
	switch {
	case iso.Max <= 0 && iso.OnLeaseEnd == "closed":
		c.report("isolation.max", "onLeaseEnd: closed needs a max: nothing else would end the isolation if the agent is lost", "such as max: 4h")
	case iso.Max <= 0:
		c.report("isolation.max", "max must be longer than nothing", "such as max: 4h")
	case iso.Lease < leastLease:
		c.report("isolation.lease", fmt.Sprintf("a lease of %s is too short: an agent that is slow for a moment would lose the isolation", iso.Lease),
			fmt.Sprintf("use at least %s", leastLease))
	case iso.Max < iso.Lease:
		c.report("isolation.max", fmt.Sprintf("max %s is shorter than the lease of %s", iso.Max, iso.Lease), "")
	}
}

// leastLease is the shortest lease: an agent renews it several times over, also
// on a computer that is busy.
const leastLease = 30 * second

// executable checks the path of a program: a rule with anything but a full path
// would never match, and nobody would notice.
func (c *checker) executable(at, path string) {
	unix := strings.HasPrefix(path, "/")
	windows := len(path) > 3 && path[1] == ':' && path[2] == '\\'
	elements := strings.FieldsFunc(path, func(r rune) bool { return r == '/' || r == '\\' })
	switch {
	case path == "":
	case !unix && !windows:
		c.report(at, quote(path)+" is not a full path", `write it as /usr/sbin/sshd or C:\Windows\System32\svchost.exe`)
	case slices.Contains(elements, "..") || slices.Contains(elements, ".") || strings.Contains(path, "//") || strings.HasSuffix(path, "/"):
		c.report(at, quote(path)+" is not the plain path of a file", "leave out . and .. and doubled slashes")
	case strings.ContainsAny(path, "*?"):
		c.report(at, quote(path)+" has a wildcard in it", "name one executable, in full")
	}
}

func (c *checker) exception(path string, e Exception) {
	for _, field := range []struct {
		name    string
		missing bool
	}{
		{"owner", e.Owner == ""}, {"reason", e.Reason == ""}, {"until", e.Until.IsZero()},
	} {
		if field.missing {
			c.report(path, "this exception has no "+field.name, "an exception needs an owner, a reason and a last day")
		}
	}
	aboutPort := len(e.Ports) > 0 || e.Protocol+e.Process != ""
	switch {
	case e.Detector != "" && !slices.Contains(DetectorNames, e.Detector):
		c.report(below(path, "detector"), "there is no detector "+quote(e.Detector), suggest(e.Detector, DetectorNames))
	case e.Detector == "" && !aboutPort:
		c.report(path, "this exception names nothing", "name a port, a process or a detector")
	case e.Detector != "" && e.Detector != "open-port" && aboutPort:
		c.report(path, "port, protocol and process are for open ports, not for "+e.Detector, "")
	}
	c.executable(below(path, "process"), e.Process)
}
