package platformtest

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/firebreak-sec/firebreak/platform"
)

// binds keeps programs of a machine from opening ports.
type binds struct{ m *Machine }

func (b binds) Deny(_ context.Context, rules []platform.BindRule) error {
	b.m.mu.Lock()
	defer b.m.mu.Unlock()
	var words []string
	for _, r := range rules {
		words = append(words, platform.PortList([]platform.PortRule{r.PortRule}))
	}
	if err := b.m.called("Binds.Deny", strings.Join(words, ", ")); err != nil {
		return err
	}
	for _, r := range rules {
		for _, e := range r.Except {
			if strings.HasSuffix(e.Unit, ".socket") {
				return &platform.BindError{Rule: r, Why: fmt.Errorf("%s is no service", e.Unit)}
			}
		}
	}
	b.m.denied = slices.Clone(rules)
	return nil
}

func (b binds) Denied(context.Context) ([]platform.BindRule, error) {
	b.m.mu.Lock()
	defer b.m.mu.Unlock()
	if err := b.m.called("Binds.Denied", nil); err != nil {
		return nil, err
	}
	return slices.Clone(b.m.denied), nil
}

func (b binds) Attempts(ctx context.Context) <-chan platform.BindAttempt {
	told := make(chan platform.BindAttempt)
	go func() {
		<-ctx.Done()
		close(told)
	}()
	return told
}

// AlterBinds changes the rules by which programs are kept from opening ports, as
// somebody else with the rights to would.
func (m *Machine) AlterBinds(rules ...platform.BindRule) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.denied = rules
}

// Denied returns the ports that no program of the machine may open.
func (m *Machine) Denied() []platform.BindRule {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.denied)
}

// mayOpen tells whether a process may open a port.
func (m *Machine) mayOpen(p *process, l platform.Listener) bool {
	if l.Address.IsLoopback() {
		return true
	}
	for _, r := range m.denied {
		passes := slices.ContainsFunc(r.Except, func(e platform.BindException) bool {
			return (e.Exe == "" || e.Exe == p.Exe) && (e.User == "" || e.User == p.User) && (e.Unit == "" || e.Unit == p.Unit)
		})
		if !passes && covered([]platform.PortRule{r.PortRule}, l.Protocol, l.Port) {
			return false
		}
	}
	return true
}
