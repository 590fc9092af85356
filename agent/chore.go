package agent

import "time"

// chore is a job that is asked for often: it is under way once at a time, begins
// at most once in every gap, and begins again if it was asked for while it was
// under way. Its clock is the time since boot, which nobody can set.
type chore struct {
	gap   time.Duration
	asked bool
	busy  bool
	ran   bool
	begun time.Duration
}

func (c *chore) ask() { c.asked = true }

// askNow asks for the chore whenever it last began.
func (c *chore) askNow() { c.asked, c.ran = true, false }

// askEvery asks for the chore when it last began longer ago than that.
func (c *chore) askEvery(every, now time.Duration) {
	if c.ran && now-c.begun >= every {
		c.asked = true
	}
}

// begin tells whether the chore is to begin now, and takes it that it does.
func (c *chore) begin(now time.Duration) bool {
	if !c.asked || c.busy || c.wait(now) > 0 {
		return false
	}
	c.asked, c.busy, c.ran, c.begun = false, true, true, now
	return true
}

func (c *chore) end() { c.busy = false }

// wait returns how long it is until the chore may begin.
func (c *chore) wait(now time.Duration) time.Duration {
	if !c.ran {
		return 0
	}
	return max(0, c.gap-(now-c.begun))
}
