package platform

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/firebreak-sec/firebreak/platform/sockets"
)

// tellOwners fills in who owns the listeners, and returns what it could not see
// as gaps. Stale says that a process ended during the search for it, or between that
// and the reading of what it is, as one does that forks into the background: the
// search has to be repeated.
func (r *listenerReader) tellOwners(ctx context.Context, found []Listener) (gaps []Gap, stale bool) {
	r.users.refresh()
	defer func() {
		r.pids, r.told = r.told, r.pids
		clear(r.told)
	}()
	var hidden int
	var held []*Listener // by systemd
	var exes []string
	ofPackage := make([]*Owner, 0, len(found))
	for i := range found {
		l := &found[i]
		holders, holding := r.owners.Holders(l.Cookie)
		l.Owner.Kernel = holding == sockets.Nobody
		facts := r.tellOwner(&l.Owner, l.Cookie, holders)
		if facts == nil {
			stale = stale || holding == sockets.Held || holding == sockets.Hidden && !r.hidden[l.Cookie]
			if !l.Owner.Kernel {
				hidden++
			}
			continue
		}
		if facts.place.container == "" && (facts.original || l.Owner.ExeDeleted) {
			if !slices.Contains(exes, l.Owner.Exe) {
				exes = append(exes, l.Owner.Exe)
			}
			ofPackage = append(ofPackage, &l.Owner)
		}
		if l.Owner.PIDs[0] == 1 {
			held = append(held, l)
		}
	}
	r.book.forget()
	packages := r.packages.Owners(exes)
	for _, o := range ofPackage {
		o.Package = packages[o.Exe]
	}
	gaps = hiddenOwners(hidden, os.Geteuid() == 0)
	if err := r.units.learn(ctx, held, time.Now()); err != nil {
		gaps = append(gaps, Gap{Part: PartOwners, Partial: true, Reason: unknownSocketUnits(len(held), err)})
	}
	if err := r.kernel.tell(ctx, found); err != nil {
		gaps = append(gaps, Gap{Part: PartOwners, Partial: true, Reason: err.Error()})
	}
	for _, l := range held {
		if unit := r.units.unit(l); unit != "" {
			l.Owner.Unit = unit
		}
	}
	return gaps, stale
}

// tellOwner fills in what the processes that hold a socket tell of its owner. It
// returns the facts of the one that counts, or nil if there is none to be seen.
func (r *listenerReader) tellOwner(o *Owner, cookie uint64, holders []sockets.Holder) *processFacts {
	r.holding = r.holding[:0]
	for _, h := range holders {
		if f, err := r.book.facts(h.PID); err == nil {
			r.holding = append(r.holding, f)
		}
	}
	if len(r.holding) == 0 {
		return nil
	}
	o.PIDs = r.pidsOf(cookie, r.holding)
	f := chief(r.holding)
	o.PID, o.Start, o.Process = f.PID, f.Start, f.name
	o.Exe, o.ExeDeleted = f.exe()
	o.User = r.users.name(f.uid)
	o.Unit, o.UserUnit, o.Container = f.place.unit, f.place.userUnit, f.place.container
	return f
}

// pidsOf returns the pids of those that hold a socket: the same list as long as
// they are the same.
func (r *listenerReader) pidsOf(cookie uint64, holding []*processFacts) []int {
	list := r.pids[cookie]
	if !slices.EqualFunc(list, holding, func(pid int, f *processFacts) bool { return pid == f.PID }) {
		list = make([]int, 0, len(holding))
		for _, f := range holding {
			list = append(list, f.PID)
		}
	}
	r.told[cookie] = list
	return list
}

// chief returns the process that counts among those that hold one socket: the
// service rather than the service manager that opened the socket for it, and
// the parent rather than its workers.
func chief(facts []*processFacts) *processFacts {
	holds := func(pid int) bool {
		return slices.ContainsFunc(facts, func(f *processFacts) bool { return f.PID == pid && !f.isManager() })
	}
	for _, f := range facts {
		if !f.isManager() && !holds(f.ppid) {
			return f
		}
	}
	return facts[0]
}

// isManager tells whether a process opens sockets on behalf of services.
func (f processFacts) isManager() bool { return f.name == "systemd" }

// hiddenOwners is the gap for n ports without a known owner.
func hiddenOwners(n int, root bool) []Gap {
	if n == 0 {
		return nil
	}
	subject := fmt.Sprintf("the owners of %d ports are", n)
	if n == 1 {
		subject = "the owner of 1 port is"
	}
	reason := subject + " not visible to this user: repeat with sudo"
	if root {
		reason = subject + " not among the processes that can be seen from here: look from the host itself"
	}
	return []Gap{{Part: PartOwners, Partial: true, Reason: reason}}
}

// unknownSocketUnits is the reason why n ports have no known socket unit.
func unknownSocketUnits(n int, err error) string {
	why := err.Error()
	if errors.Is(err, ErrNotPermitted) {
		why = "this user may not ask systemd: repeat with sudo"
	}
	return fmt.Sprintf("which socket units opened %d ports is not known: %s", n, why)
}
