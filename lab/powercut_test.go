//go:build linux

package lab_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/firebreak-sec/firebreak/lab"
)

const cutPolicy = `version: firebreak/v1
name: cut
revision: 1
mode: enforce
isolation: {keep: [dhcp], lease: 30s}
`

// often reads how often something is to be done.
func often(t *testing.T, variable string, otherwise int) int {
	t.Helper()
	text := os.Getenv(variable)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s=%s: %v", variable, text, err)
	}
	return n
}

// orders are given one after the other, and remembered: what was answered is
// promised, what was not may or may not be so.
type orders struct {
	mu       sync.Mutex
	isolated bool // what was promised last
	open     bool // another order is on its way
}

// one gives an order: the one against what is promised.
func (o *orders) one(do func(isolate bool) bool) {
	o.mu.Lock()
	want := !o.isolated
	o.open = true
	o.mu.Unlock()
	done := do(want)
	o.mu.Lock()
	defer o.mu.Unlock()
	if done {
		o.isolated, o.open = want, false
	}
}

// until gives one order after the other until cut has cut the power, and returns
// what was promised then.
func (o *orders) until(cut func(look func()), do func(isolate bool) bool) (isolated, known bool) {
	stop, given := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(given)
		for {
			select {
			case <-stop:
				return
			default:
			}
			before, _ := o.now()
			o.one(do)
			if after, _ := o.now(); after != before {
				time.Sleep(rand.N(300 * time.Millisecond)) // so that some cuts come between two orders
			}
		}
	}()
	isolated, known = o.cut(cut)
	close(stop)
	<-given
	return isolated, known
}

// cut returns what was promised all the time while the power was cut.
func (o *orders) cut(cut func(look func())) (isolated, known bool) {
	first := true
	cut(func() {
		now, sure := o.now()
		known = sure && (first || known && now == isolated)
		isolated, first = now, false
	})
	return isolated, known
}

// now returns what must be so, or that it is not known.
func (o *orders) now() (isolated, known bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.isolated, !o.open
}

// TestPowerCut cuts the power of computers that are isolated and released all
// the time, at any moment, and looks what is in force after the next boot. A disk
// that loses what was not synced is honest where a kill is not.
func TestPowerCut(t *testing.T) {
	t.Parallel()
	const computers = 2
	cuts := often(t, "POWER_CUTS", 100)
	n := lab.NewNetwork(t)
	n.Attacker.Serve(t, 9000)
	program := lab.AgentProgram(t)
	t.Run("computers", func(t *testing.T) {
		for i := range computers {
			name := fmt.Sprintf("computer%d", i)
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				cutOften(t, n, n.NewComputer(t, name, i, program, cutPolicy), cuts/computers)
			})
		}
	})
}

func cutOften(t *testing.T, n *lab.Network, c *lab.Computer, cuts int) {
	seed := uint64(time.Now().UnixNano())
	dice := rand.New(rand.NewPCG(seed, 0))
	t.Logf("seed %d", seed)
	isolated, known := false, true
	unknown, isolations, carriedOn := 0, 0, 0
	began := time.Now()
	for cut := range cuts {
		c.Boot(t)
		restored := afterBoot(t, n, c, cut, isolated, known)
		agent := c.Start(t, "firebreak", "run")
		o := &orders{isolated: awaitAgent(t, c, restored, known)}
		if o.isolated != restored {
			carriedOn++
		}

		give := func(isolate bool) bool { return order(c.Try, isolate) }
		if dice.IntN(2) == 0 { // just after an answer
			o.one(give)
			isolated, known = o.cut(func(look func()) { c.CutPower(t, look) })
		} else {
			isolated, known = o.until(func(look func()) {
				time.Sleep(time.Duration(dice.Int64N(int64(1200 * time.Millisecond))))
				c.CutPower(t, look)
			}, give)
		}
		if said := agent(); strings.Contains(said, "panic") || t.Failed() {
			t.Fatalf("cut %d: the agent said: %s", cut, said)
		}
		if !known {
			unknown++
		} else if isolated {
			isolations++
		}
	}
	t.Logf("%d cuts, %s each: %d in the middle of an order, of which %d were carried out after it; %d while isolated", cuts, (time.Since(began) / time.Duration(max(cuts, 1))).Round(time.Millisecond), unknown, carriedOn, isolations)
	if cuts >= 20 && (unknown == 0 || isolations == 0) {
		t.Error("the cuts did not come at all moments")
	}
	freed(t, n, c, isolated, known)
}

// order gives one order; it may be cut short.
func order(try func(args ...string) (string, int), isolate bool) bool {
	args := []string{"firebreak", "release"}
	if isolate {
		args = []string{"firebreak", "isolate", "--reason", "cut", "--cut-me-off"}
	}
	_, code := try(args...)
	return code == 0
}

// afterBoot restores as a boot does, before there is an agent, and returns
// whether the computer is isolated. It must be as was promised, and nothing of
// the agent may be left over if it is not.
func afterBoot(t *testing.T, n *lab.Network, c *lab.Computer, cut int, promised, known bool) bool {
	t.Helper()
	said, code := c.Try("firebreak", "restore")
	if code != 0 {
		t.Fatalf("cut %d: restore: exit code %d: %s", cut, code, said)
	}
	tables, _ := c.Try("nft", "list", "tables")
	isolated := strings.Contains(tables, "inet firebreak")
	if known && isolated != promised {
		t.Fatalf("cut %d: isolated %v; promised was %v; restore said: %s", cut, isolated, promised, said)
	}
	if !isolated && strings.TrimSpace(tables) != "" {
		t.Fatalf("cut %d: not isolated, and there are rules: %s", cut, tables)
	}
	if reached := c.Do(func() error { return dial(n) }) == nil; reached == isolated {
		t.Fatalf("cut %d: isolated %v, reaches the attacker %v; restore said: %s", cut, isolated, reached, said)
	}
	if isolated {
		if lease, _ := c.Try("nft", "list", "set", "inet", "firebreak", "lease"); !strings.Contains(lease, "expires") {
			t.Fatalf("cut %d: isolated without an end: %s", cut, lease)
		}
	}
	return isolated
}

// awaitAgent waits until the agent answers, and holds it to what was restored. An
// order that was cut in the middle it may carry out now. It returns whether the
// computer is isolated then.
func awaitAgent(t *testing.T, c *lab.Computer, restored, known bool) bool {
	t.Helper()
	isolated, since := restored, time.Time{} // of when the agent says the same
	lab.Eventually(t, 10*time.Second, func() error {
		said, code := c.Try("firebreak", "status", "--json")
		if code > 1 {
			return fmt.Errorf("status: exit code %d: %s", code, said)
		}
		var s struct{ Isolated bool }
		if err := json.Unmarshal([]byte(said), &s); err != nil {
			return fmt.Errorf("status: %w: %s", err, said)
		}
		if known && s.Isolated != restored {
			return fmt.Errorf("the agent says isolated %v; restored was %v", s.Isolated, restored)
		}
		if s.Isolated != isolated || since.IsZero() {
			isolated, since = s.Isolated, time.Now()
		}
		tables, _ := c.Try("nft", "list", "tables")
		if strings.Contains(tables, "firebreak") != isolated {
			return fmt.Errorf("the agent says isolated %v, and the tables are: %s", isolated, tables)
		}
		if !known && time.Since(since) < 500*time.Millisecond {
			return errors.New("an order may still be carried out")
		}
		return nil
	})
	return isolated
}

// freed boots once more, without an agent: what was in force is, and the kernel
// alone ends it.
func freed(t *testing.T, n *lab.Network, c *lab.Computer, promised, known bool) {
	t.Helper()
	c.Boot(t)
	if !afterBoot(t, n, c, -1, promised, known) {
		agent := c.Start(t, "firebreak", "run")
		if !awaitAgent(t, c, false, known) && !order(c.Try, true) {
			t.Fatal("it cannot be isolated")
		}
		c.CutPower(t, func() {})
		_ = agent()
		c.Boot(t)
		afterBoot(t, n, c, -1, true, true)
	}
	lab.Eventually(t, 31*time.Second, func() error { return c.Do(func() error { return dial(n) }) })
}

// TestHostPowerCut is the same with whole hosts, and the services that
// Firebreak installed on them.
func TestHostPowerCut(t *testing.T) {
	t.Parallel()
	cuts := often(t, "HOST_CUTS", 20)
	n := lab.NewNetwork(t)
	n.Attacker.Serve(t, 9000)
	h := n.BootWithDisk(t, "alpha", "/var/lib/firebreak")
	h.InstallAgent(t, cutPolicy)
	dice := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 0))
	try := func(args ...string) (string, int) {
		out, errs, code := h.Try(args...)
		return out + errs, code
	}
	isolated := false
	began := time.Now()
	for cut := range cuts {
		o := &orders{isolated: isolated}
		known := false
		give := func(isolate bool) bool { return order(try, isolate) }
		if dice.IntN(2) == 0 {
			o.one(give)
			isolated, known = o.cut(func(look func()) { h.CutPower(t, look) })
		} else {
			isolated, known = o.until(func(look func()) {
				time.Sleep(time.Duration(dice.Int64N(int64(1500 * time.Millisecond))))
				h.CutPower(t, look)
			}, give)
		}
		h.BootAgain(t)
		h.WaitForAgent(t)
		now := h.Status(t).Isolated
		if known && now != isolated {
			t.Fatalf("cut %d: isolated %v; promised was %v", cut, now, isolated)
		}
		isolated = now
		if reached := h.Reaches(n.Attacker.IPv4, 9000); reached == isolated {
			t.Fatalf("cut %d: isolated %v, reaches the attacker %v", cut, isolated, reached)
		}
		if rules := h.Run(t, "nft", "list", "tables"); strings.Contains(rules, "firebreak") != isolated {
			t.Fatalf("cut %d: isolated %v, and the tables are: %s", cut, isolated, rules)
		}
		if isolated && !strings.Contains(h.Run(t, "nft", "list", "set", "inet", "firebreak", "lease"), "expires") {
			t.Fatalf("cut %d: isolated without an end", cut)
		}
	}
	t.Logf("%d cuts, %s each", cuts, (time.Since(began) / time.Duration(max(cuts, 1))).Round(time.Millisecond))
}

// dial connects to the attacker.
func dial(n *lab.Network) error {
	conn, err := net.DialTimeout("tcp", netip.AddrPortFrom(n.Attacker.IPv4, 9000).String(), 300*time.Millisecond)
	if err != nil {
		return err
	}
	return conn.Close()
}
