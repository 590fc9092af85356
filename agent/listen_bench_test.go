package agent

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/firebreak-sec/firebreak/agent/journal"
	"github.com/firebreak-sec/firebreak/platform"
)

const (
	listenRounds = 100
	// maxShut is the bar of the whole way from listen() to a block that was read
	// back, for a rule that is not by number.
	maxShut = 5 * time.Millisecond
	// listenerEnv makes the test binary a program that opens ports when told to.
	listenerEnv = "FIREBREAK_TEST_LISTENER"
)

func TestMain(m *testing.M) {
	if os.Getenv(listenerEnv) != "" {
		openPorts(os.Stdin, os.Stdout)
		return
	}
	os.Exit(m.Run())
}

// openPorts opens each port it reads in place of the one before, and writes when
// it was about to.
func openPorts(in io.Reader, out io.Writer) {
	var before io.Closer = io.NopCloser(nil)
	for lines := bufio.NewScanner(in); lines.Scan(); {
		began := time.Now()
		l, err := net.Listen("tcp", lines.Text())
		if err != nil {
			fmt.Fprintln(out, err)
			return
		}
		fmt.Fprintln(out, began.UnixNano())
		_ = before.Close()
		before = l
	}
	_ = before.Close()
}

// BenchmarkListenToShut measures the whole way from a program's listen() to the
// block that was put in force and read back, with the real kernel in a network
// namespace of its own and a rule that names the program. What is written to disk
// comes after the block, and is told apart: a slow disk delays nothing. It fails
// where the bar is missed.
func BenchmarkListenToShut(b *testing.B) {
	if os.Getenv("FIREBREAK_TEST_ALONE") == "" {
		if os.Getuid() != 0 {
			b.Skip("needs root to make a network namespace")
		}
		c := exec.Command("unshare", "--net", "sh", "-ec", `ip link set lo up
			ip link add eth0 type veth peer name eth1; ip link set eth1 up; ip addr add 192.0.2.1/24 dev eth0; ip link set eth0 up
			exec "$0" -test.run='^$' -test.bench='^BenchmarkListenToShut$' -test.benchtime=1x`, os.Args[0])
		c.Env = append(os.Environ(), "FIREBREAK_TEST_ALONE=1")
		out, err := c.CombinedOutput()
		fmt.Print(string(out))
		if err != nil {
			b.Fatal(err)
		}
		return
	}
	way := newShutting(b)
	var shut, recorded []time.Duration
	for i := range listenRounds {
		s, r := way.open(fmt.Sprintf("0.0.0.0:%d", 20000+7*i))
		shut, recorded = append(shut, s), append(recorded, r)
		time.Sleep(200 * time.Millisecond) // one at a time: all that follows from it is over
	}
	slices.Sort(shut)
	slices.Sort(recorded)
	n := len(shut)
	fmt.Printf("| listen() to, ms | median | p90 | worst |\n| shut and read back | %.2f | %.2f | %.2f |\n| and on disk | %.2f | %.2f | %.2f |\n",
		millis(shut[n/2]), millis(shut[n*9/10]), millis(shut[n-1]),
		millis(recorded[n/2]), millis(recorded[n*9/10]), millis(recorded[n-1]))
	b.ReportMetric(millis(shut[n/2]), "ms/shut")
	b.ReportMetric(0, "ns/op")
	if shut[n/2] > maxShut {
		b.Errorf("shut after %v; want at most %v", shut[n/2], maxShut)
	}
}

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// shutting is an agent on this very kernel, and a program that opens ports.
type shutting struct {
	testing.TB
	a      *Agent
	tell   io.Writer
	told   *bufio.Scanner
	events chan platform.Event
	blocks chan stamped
}

// stamped is what was read back from the firewall, and when.
type stamped struct {
	at      time.Time
	blocked []platform.PortRule
}

func newShutting(b *testing.B) *shutting {
	exe, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	dir := b.TempDir()
	policy := fmt.Sprintf("version: firebreak/v1\nname: test\nrevision: 1\nmode: enforce\nports: {deny: [{process: %s, severity: critical, plan: shut}]}\n"+
		"plans: {shut: {mitigate: [block-port]}}\n", exe)
	if err := os.WriteFile(filepath.Join(dir, PolicyFile), []byte(policy), 0o600); err != nil {
		b.Fatal(err)
	}
	w := &shutting{TB: b, events: make(chan platform.Event), blocks: make(chan stamped, 100)}
	c := DefaultConfig()
	c.Host = platform.Local(platform.Options{StateDir: dir})
	c.Host.Observer = prompt{c.Host.Observer, w.events}
	c.Host.Firewall = watched{c.Host.Firewall, w.blocks}
	c.PolicyDir, c.Evidence = dir, filepath.Join(dir, "evidence")
	if c.Journal, err = journal.Open(filepath.Join(dir, "journal.db"), journal.DefaultLimits()); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = c.Journal.Close() })
	if w.a, err = New(c); err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.a.Run(ctx) }()
	b.Cleanup(func() { cancel(); <-ended })
	for w.a.Status().LastLook.IsZero() {
		<-w.a.Changed()
	}
	program := exec.Command(exe)
	program.Env = append(os.Environ(), listenerEnv+"=1")
	in, err1 := program.StdinPipe()
	out, err2 := program.StdoutPipe()
	if err1 != nil || err2 != nil || program.Start() != nil {
		b.Fatal("the program that opens ports does not start")
	}
	b.Cleanup(func() { _ = in.Close(); _ = program.Wait() })
	w.tell, w.told = in, bufio.NewScanner(out)
	return w
}

// open has a port opened, and returns how long after that it was shut, and how
// long after that everything was on disk.
func (w *shutting) open(at string) (shut, recorded time.Duration) {
	w.Helper()
	before := w.a.Changed()
	fmt.Fprintln(w.tell, at)
	if !w.told.Scan() {
		w.Fatal("the program that opens ports has ended")
	}
	var nanos int64
	if _, err := fmt.Sscan(w.told.Text(), &nanos); err != nil {
		w.Fatal(w.told.Text())
	}
	w.events <- platform.Event{Part: platform.PartListeners, Why: at + " began to listen"}
	began := time.Unix(0, nanos)
	port := uint16(0)
	if _, err := fmt.Sscan(at[strings.LastIndex(at, ":")+1:], &port); err != nil {
		w.Fatal(err)
	}
	deadline := time.After(10 * time.Second)
	for {
		select {
		case s := <-w.blocks:
			if slices.ContainsFunc(s.blocked, func(r platform.PortRule) bool { return r.First <= port && port <= r.Last }) {
				<-before
				return s.at.Sub(began), time.Since(began)
			}
		case <-deadline:
			w.Fatalf("%s is not shut: %+v", at, w.a.Threats(true))
		}
	}
}

// prompt is an observer that tells of ports at once.
type prompt struct {
	platform.Observer
	events chan platform.Event
}

func (p prompt) Events(context.Context) <-chan platform.Event { return p.events }

// watched is a firewall that tells what was read back from it, and when.
type watched struct {
	platform.Firewall
	blocks chan<- stamped
}

func (w watched) InForce(ctx context.Context) (platform.Restrictions, error) {
	r, err := w.Firewall.InForce(ctx)
	select {
	case w.blocks <- stamped{time.Now(), r.Blocked}:
	default:
	}
	return r, err
}
