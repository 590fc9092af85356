package threat

import "time"

const (
	// Restless is how often a threat may come back before that is a matter of its
	// own.
	Restless = 3
	// FlapWindow is the longest time between two openings of what flaps. It is the
	// longest that such a threat has to be gone before that is believed, too.
	FlapWindow = 10 * time.Minute

	// settleTime is how long a port has to be shut before that is believed: a
	// service that starts again, as at an upgrade, is the same service.
	settleTime = 5 * time.Second
	// restTime is the same for what came back Restless times; twice as long for
	// each further time.
	restTime = time.Minute
)

// Flap counts that the threat was gone, or seemed to be, and is there again. last
// is when it was seen before that.
func (t *Threat) Flap(last, now time.Time) {
	if now.Sub(t.FlappedAt) > FlapWindow {
		t.Flaps, t.FlapsSince = 0, now
	}
	if now.Sub(last) > FlapWindow {
		return
	}
	t.Flaps++
	t.FlappedAt = now
}

// Flapping tells whether the threat comes and goes: then nothing that is done about
// it is taken back in between.
func (t Threat) Flapping(now time.Time) bool {
	return t.Flaps >= Restless && now.Sub(t.FlappedAt) <= FlapWindow
}

// Rest is how long the threat has to be gone before that is believed.
func (t Threat) Rest() time.Duration {
	switch {
	case t.Flaps >= Restless:
		return min(restTime<<min(t.Flaps-Restless, 10), FlapWindow)
	case t.Recurrences >= Restless:
		return restTime
	case t.Subject.Port != nil:
		return settleTime
	}
	return 0
}

// Closed counts how often the threat was remediated since it began to flap.
func (t Threat) Closed() int {
	n := 0
	for _, a := range t.Actions {
		if a.Kind == "remediation" && a.Result == "done" && a.At.Add(FlapWindow).After(t.FlapsSince) {
			n++
		}
	}
	return n
}
