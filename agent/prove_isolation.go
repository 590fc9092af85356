package agent

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/firebreak-sec/firebreak/actions"
	"github.com/firebreak-sec/firebreak/platform"
)

const (
	// proveIsolationEvery is how often an isolation is proved again while it
	// lasts, and proveIsolationGap how often at most, whatever happens.
	proveIsolationEvery = 20 * time.Second
	proveIsolationGap   = time.Second
	// proveIsolationDeadline bounds one proof, so that a divergence is told within
	// half a minute.
	proveIsolationDeadline = 8 * time.Second
)

// trial is what trying an isolation has shown.
type trial struct {
	wrong  []string // it does not hold, or could not be tried
	lacks  []string // it holds, but not in every way there is
	ended  int      // connections that had to be ended once more
	differ bool     // what was read back is not what should be in force
}

// verdict says how well an isolation holds, in one sentence.
func (t trial) verdict() (IsolationState, string) {
	switch {
	case len(t.wrong) > 0:
		return IsolationFailed, t.wrong[0]
	case len(t.lacks) > 0:
		return IsolationDegraded, "degraded: " + strings.Join(t.lacks, "; ")
	}
	return IsolationFull, "proved: nothing gets in or out but what is kept"
}

// proveIsolation asks for a proof of the isolation in force, at once.
func (a *Agent) proveIsolation() { a.proving.askNow() }

// tryIsolation finds out in a worker whether the host is really cut off.
func (a *Agent) tryIsolation() {
	host, iso, isolation, applies := a.cfg.Host, *a.state.Restrictions.Isolation, a.isolations, a.applies
	a.enqueueIsolate(func(ctx context.Context) func(context.Context) {
		ctx, cancel := context.WithTimeout(ctx, proveIsolationDeadline)
		defer cancel()
		t := tryOut(ctx, host, iso)
		return func(ctx context.Context) {
			a.proving.end()
			switch {
			case a.state.Restrictions.Isolation == nil || isolation != a.isolations:
			case applies != a.applies && len(t.wrong) > 0:
				a.proving.ask() // it was changed meanwhile: it is tried as it is now
			default:
				a.isolationTried(ctx, t)
			}
		}
	})
}

// isolationTried takes up what trying the isolation in force has shown.
func (a *Agent) isolationTried(ctx context.Context, t trial) {
	a.proofs++
	a.tried = &t
	if t.differ {
		a.compare(ctx, "")
	}
	if t.ended > 0 {
		a.state.Isolated.Ended += t.ended
		a.keepState()
	}
	a.tellIsolation()
}

// tellIsolation says how well the isolation in force holds, by all that is known.
func (a *Agent) tellIsolation() {
	if a.tried == nil || a.state.Restrictions.Isolation == nil {
		return
	}
	t := *a.tried
	t.lacks = slices.Concat(t.lacks, a.notCut)
	if a.strands != "" {
		t.lacks = append(t.lacks, a.strands)
	}
	t.lacks = unique(t.lacks)
	state, detail := t.verdict()
	p := &a.state.Isolated
	reasons := t.lacks
	if state == IsolationFailed {
		reasons = unique(slices.Concat(t.wrong, t.lacks))
	}
	if p.State == string(state) && p.Detail == detail && slices.Equal(p.Reasons, reasons) {
		return
	}
	a.note("verdict", "", actions.IsolateHost.Name, detail)
	p.At, p.Proved, p.Detail = a.cfg.Now(), state != IsolationFailed, detail
	p.State, p.Reasons = string(state), reasons
	a.keepState()
}

// unique leaves out what was said before.
func unique(sentences []string) []string {
	var out []string
	for _, s := range sentences {
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

// unusedPort is a port on which nothing is expected to listen: a host that is
// reachable refuses it, an isolated one says nothing.
const unusedPort = 1

// try is one way to see whether an isolation holds: what is wrong, or what is
// lacking.
type try func() (wrong, lack string)

// tryOut tries whether the host is cut off from all but those it should reach: it
// knocks from outside, tries to get out, and reads back what the system says. It
// tries everything at the same time, since silence takes its time to be believed;
// but connections first, or those of the probes would be found and ended.
func tryOut(ctx context.Context, h *platform.Host, iso platform.Isolation) trial {
	before, standingErr := h.Firewall.Standing(ctx)
	ended, leftWrong, leftLack := stillConnected(ctx, h, iso)
	t := trial{ended: ended}
	tries := []try{
		func() (string, string) { return getsIn(ctx, h, netip.IPv4Unspecified()), "" },
		func() (string, string) { return getsIn(ctx, h, netip.IPv6Unspecified()), "" },
		func() (string, string) { return getsOut(ctx, h, false), "" },
		func() (string, string) { return getsOut(ctx, h, true), "" },
		func() (string, string) { return framesGetOut(ctx, h) },
	}
	for _, peer := range managers(iso) {
		tries = append(tries, func() (string, string) { return "", reached(ctx, h, peer) })
	}
	wrong, lacks := make([]string, len(tries)), make([]string, len(tries))
	var all sync.WaitGroup
	for i, try := range tries {
		all.Go(func() { wrong[i], lacks[i] = try() })
	}
	all.Wait()
	empty := func(s string) bool { return s == "" }
	wrong, lacks = append(wrong, leftWrong), append(lacks, leftLack)
	t.wrong, t.lacks = slices.DeleteFunc(wrong, empty), slices.DeleteFunc(lacks, empty)
	t.readBack(ctx, h, iso, before.Dropped, standingErr)
	return t
}

// readBack adds what the system itself says. The probes were dropped, so its
// counters must have moved.
func (t *trial) readBack(ctx context.Context, h *platform.Host, iso platform.Isolation, dropped uint64, err error) {
	got, readErr := h.Firewall.InForce(ctx)
	t.differ = readErr != nil || !sameIsolation(got.Isolation, &iso)
	after, afterErr := h.Firewall.Standing(ctx)
	if err = errors.Join(err, afterErr); err == nil {
		t.lacks = append(t.lacks, after.Lacks...)
	}
	switch {
	case readErr != nil:
		t.wrong = append(t.wrong, "isolation cannot be read back: "+readErr.Error())
	case t.differ:
		t.wrong = append(t.wrong, "isolation FAILED: what is in force is not what should be")
	case err != nil:
		t.wrong = append(t.wrong, "isolation is in force, but how well it holds cannot be read: "+err.Error())
	case after.Dropped == dropped && len(t.wrong) == 0:
		t.wrong = append(t.wrong, "isolation is in force, but the firewall has counted none of the packets that it should have dropped")
	}
}

// getsIn says what is wrong with an isolation that should let nothing in. A host
// need not have IPv6.
func getsIn(ctx context.Context, h *platform.Host, to netip.Addr) string {
	got, err := h.Prober.Inbound(ctx, platform.TCP, netip.AddrPortFrom(to, unusedPort))
	switch {
	case errors.Is(err, platform.ErrUnsupported) && to.Is6():
	case err != nil:
		return "isolation is in force, but could not be tried from outside: " + err.Error()
	case got != platform.Silent:
		return "isolation FAILED: this computer still answers from outside"
	}
	return ""
}

// getsOut says what is wrong with an isolation that should let nothing out.
func getsOut(ctx context.Context, h *platform.Host, v6 bool) string {
	got, err := h.Prober.Outbound(ctx, v6)
	switch {
	case errors.Is(err, platform.ErrUnsupported) && v6:
	case err != nil:
		return "isolation is in force, but could not be tried from inside: " + err.Error()
	case got == platform.Answered:
		return "isolation FAILED: this computer still gets out"
	}
	return ""
}

// framesGetOut tries what passes IP by.
func framesGetOut(ctx context.Context, h *platform.Host) (wrong, lack string) {
	got, err := h.Prober.Raw(ctx)
	switch {
	case errors.Is(err, platform.ErrUnsupported):
		return "", "whether frames that are no IP packets get out could not be tried"
	case err != nil:
		return "isolation is in force, but could not be tried with a raw frame: " + err.Error(), ""
	case got == platform.Answered:
		return "isolation FAILED: frames that are no IP packets still get out", ""
	}
	return "", ""
}

// cutAgain is how often connections that are still there are ended once more, and
// cutPause how long after the last time: some are on their way out already.
const (
	cutAgain = 3
	cutPause = 50 * time.Millisecond
)

// stillConnected says which connections should have ended.
func stillConnected(ctx context.Context, h *platform.Host, iso platform.Isolation) (ended int, wrong, lack string) {
	live, err := h.Connections.Live(ctx, iso)
	for n := 0; err == nil && len(live) > 0 && n < cutAgain; n++ {
		var done platform.Cut
		if done, err = h.Connections.Cut(ctx, iso); err != nil {
			break
		}
		ended += done.Ended
		select {
		case <-ctx.Done():
		case <-time.After(cutPause):
		}
		live, err = h.Connections.Live(ctx, iso)
	}
	switch {
	case errors.Is(err, platform.ErrUnsupported):
		lack = "whether connections are left could not be seen"
	case err != nil:
		wrong = "isolation is in force, but it could not be seen whether connections are left: " + err.Error()
	case len(live) > 0:
		lack = notEnded(live)
	}
	return ended, wrong, lack
}

// notEnded says which connections go on.
func notEnded(left []platform.Connection) string {
	c := left[0]
	return fmt.Sprintf("%s could not be ended, such as %s from %s to %s", plural(len(left), "connection"), c.Protocol, c.Local, c.Remote)
}

// reached says of a peer that should stay reachable that it is not. It may be its
// own fault: what is cut off stays cut off.
func reached(ctx context.Context, h *platform.Host, peer netip.AddrPort) (lack string) {
	if got, err := h.Prober.Connect(ctx, peer); err != nil || got != platform.Answered {
		return peerName(peer) + ", which should stay reachable, does not answer"
	}
	return ""
}
