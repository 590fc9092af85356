package localapi

import (
	"regexp"
	"strings"
)

// hidden stands in a sentence where something was taken out.
const hidden = "[hidden]"

// absolute matches an absolute path in running text.
var absolute = regexp.MustCompile(`(^|[\s"'(=,:])(/[^\s"'(),;:]+)`)

// Redact returns the status for somebody who may not see details: no paths,
// users or command lines. Fields that hold one are null; sentences lose the
// paths and names in them. A person still sees what is wrong, what was done
// about it and what to do.
func (s Status) Redact() Status {
	s.Redacted = true
	s.Next = withoutPaths(s.Next)
	for _, t := range s.Threats {
		s.Next = scrubber(t.Subject)(s.Next)
	}
	s.Threats = each(s.Threats, Threat.redact)
	if s.Isolation != nil {
		i := *s.Isolation
		i.By, i.Detail = whoActs(i.By), nil
		i.Reason, i.Reasons = withoutPaths(i.Reason), each(i.Reasons, pathless)
		i.Told = []string{}
		i.Keep = each(i.Keep, func(keep string) string {
			if strings.HasPrefix(keep, "user:") {
				return "user:" + hidden
			}
			return keep
		})
		s.Isolation = &i
	}
	if s.Paused != nil {
		s.Paused = &Pause{Until: s.Paused.Until}
	}
	s.Flags = each(s.Flags, func(f Flag) Flag {
		f.Told = []string{}
		f.Text = withoutPaths(f.Text)
		return f
	})
	s.Policy.Source, s.Policy.Error = nil, withoutPaths(s.Policy.Error)
	s.Gaps = each(s.Gaps, func(g Gap) Gap { g.Reason = withoutPaths(g.Reason); return g })
	s.Troubles = each(s.Troubles, pathless)
	return s
}

// Redact returns the list for somebody who may not see details.
func (t Threats) Redact() Threats {
	return Threats{Schema: t.Schema, Threats: each(t.Threats, Threat.redact), Redacted: true}
}

// Redact returns the threat for somebody who may not see details.
func (e Explained) Redact() Explained {
	return Explained{Schema: e.Schema, Threat: e.Threat.redact(), Owner: []string{}, Redacted: true}
}

func (t Threat) redact() Threat {
	scrub := scrubber(t.Subject)
	t.Subject = t.Subject.redact()
	t.Summary, t.Next, t.Because = scrub(t.Summary), scrub(t.Next), scrub(t.Because)
	t.Approved, t.Evidence = nil, nil
	t.Actions = each(t.Actions, func(a Act) Act { a.By, a.Detail, a.Costs = whoActs(a.By), nil, []string{}; return a })
	t.Proofs = each(t.Proofs, func(p Proof) Proof { p.Detail = nil; return p })
	if t.Exception != nil {
		t.Exception = &Exception{Until: t.Exception.Until}
	}
	if t.HoldOff != nil {
		t.HoldOff = &HoldOff{Until: t.HoldOff.Until}
	}
	return t
}

func (s Subject) redact() Subject {
	if s.Port != nil {
		p := *s.Port
		p.NetNS, p.PID, p.Exe, p.User, p.Unit, p.Container, p.Through, p.Forward = nil, nil, nil, nil, nil, nil, nil, nil
		s.Port = &p
	}
	if s.Updates != nil {
		u := *s.Updates
		u.Stale = []StaleProcess{}
		s.Updates = &u
	}
	if s.File != nil {
		s.File = &FileSubject{SHA256: s.File.SHA256}
	}
	if s.Process != nil {
		s.Process = &ProcessSubject{Name: s.Process.Name}
	}
	if s.Setting != nil {
		s.Setting = &SettingSubject{Name: pathless(s.Setting.Name)}
	}
	return s
}

// scrubber returns a function that takes the subject's own names out of a
// sentence: its user, its unit (which can hold a user's name), its paths.
func scrubber(s Subject) func(*string) *string {
	var names []string
	add := func(name *string) {
		if name != nil && *name != "root" {
			names = append(names, regexp.QuoteMeta(*name))
		}
	}
	if p := s.Port; p != nil {
		add(p.Exe)
		add(p.Unit)
		add(p.Container)
		add(p.User)
	}
	if s.Updates != nil {
		for _, p := range s.Updates.Stale {
			add(p.Unit)
			add(p.User)
		}
	}
	if s.File != nil {
		add(s.File.Path)
	}
	if s.Process != nil {
		add(s.Process.Exe)
	}
	if s.Setting != nil {
		add(s.Setting.Value)
	}
	if len(names) == 0 {
		return withoutPaths
	}
	// Only whole words: a user called "http" must not eat half the sentence.
	whole := regexp.MustCompile(`(^|[^\w.-])(?:` + strings.Join(names, "|") + `)($|[^\w-])`)
	return func(text *string) *string {
		if text == nil {
			return nil
		}
		out := pathless(whole.ReplaceAllString(*text, "${1}"+hidden+"${2}"))
		return &out
	}
}

// whoActs keeps who acted if it is the agent or a rule, not a person.
func whoActs(by *string) *string {
	if by == nil {
		return nil
	}
	if *by == "agent" || *by == "policy" || strings.HasPrefix(*by, "plan ") {
		return by
	}
	return nil
}

func withoutPaths(text *string) *string {
	if text == nil {
		return nil
	}
	out := pathless(*text)
	return &out
}

func pathless(text string) string { return absolute.ReplaceAllString(text, "${1}"+hidden) }
