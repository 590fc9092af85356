package platform

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/firebreak-sec/firebreak/platform/live"
)

// The bar that BenchmarkCut holds the ending of connections to.
const (
	benchLive     = 10_000
	benchCutRound = 5
	minCutOverSS  = 2.0 // times faster, by the clock
)

// cutRole is set in the processes that BenchmarkCut makes of itself.
const cutRole = "FIREBREAK_BENCH_CUT"

// BenchmarkCut ends 10,000 live connections, and has ss -K end as many, by turns
// in the same new network namespace, isolated. The other ends are in another one,
// so each connection has one socket to be ended. It fails where the bar is missed.
func BenchmarkCut(b *testing.B) {
	switch os.Getenv(cutRole) {
	case "hold":
		holdCalls(b)
		return
	case "accept":
		acceptCalls(b)
		return
	case "measure":
		measureCut(b)
		return
	}
	if os.Geteuid() != 0 {
		b.Skip("makes network namespaces: needs root")
	}
	for _, tool := range []string{"ss", "ip", "nsenter"} {
		if _, err := exec.LookPath(tool); err != nil {
			b.Skipf("needs the program %s (packages iproute2 and util-linux)", tool)
		}
	}
	cmd := cutProcess("measure")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	out, err := cmd.CombinedOutput()
	for line := range strings.Lines(string(out)) {
		var ratio float64
		if n, _ := fmt.Sscanf(line, "ratio %g", &ratio); n == 1 {
			b.ReportMetric(ratio, "ss/cut")
		} else if strings.HasPrefix(line, "|") {
			fmt.Print(line)
		}
	}
	if err != nil {
		b.Fatalf("measure in a new network namespace: %v\n%s", err, out)
	}
	b.ReportMetric(0, "ns/op") // the ratio is the result
}

func cutProcess(role string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", "-test.run=^$", "-test.bench=^BenchmarkCut$", "-test.benchtime=1x")
	cmd.Env = append(os.Environ(), cutRole+"="+role)
	return cmd
}

func measureCut(b *testing.B) {
	if err := loopbackUp(); err != nil {
		b.Fatal(err)
	}
	isolated := Restrictions{Isolation: &Isolation{}}
	here := connections{func() ([]namespace, []mount, error) { return nil, nil, nil }}
	ways := []struct {
		name  string
		end   func() error
		times []time.Duration
	}{
		{"Connections.Cut", func() error {
			done, err := here.Cut(context.Background(), *isolated.Isolation)
			if err == nil && (done.Ended < benchLive || len(done.Left) > 0) {
				err = fmt.Errorf("%d ended, %d left; want %d and 0", done.Ended, len(done.Left), benchLive)
			}
			return err
		}, nil},
		{"ss -K", func() error { return exec.Command("ss", "-K", "-H", "-n", "-t", "-u", "state", "connected").Run() }, nil},
	}
	f := newFirewall()
	for range benchCutRound {
		for i := range ways {
			to, stopFar := joinFar(b)
			stop := startCalls(b, to)
			if err := f.Apply(context.Background(), isolated); err != nil {
				b.Fatal(err)
			}
			runtime.GC()
			began := time.Now()
			err := ways[i].end()
			ways[i].times = append(ways[i].times, time.Since(began))
			if left := openCalls(b); err != nil || left > 0 {
				b.Fatalf("%s: %v, %d connections are left", ways[i].name, err, left)
			}
			if err := f.Apply(context.Background(), Restrictions{}); err != nil {
				b.Fatal(err)
			}
			stop()
			stopFar()
		}
	}
	fmt.Printf("| %-24s | %10s |\n", fmt.Sprintf("%d connections ended", benchLive), "wall ms")
	medians := make([]time.Duration, len(ways))
	for i, w := range ways {
		slices.Sort(w.times)
		medians[i] = w.times[benchCutRound/2]
		fmt.Printf("| %-24s | %10.3f |\n", w.name, ms(medians[i]))
	}
	ratio := float64(medians[1]) / float64(medians[0])
	fmt.Printf("| %-24s | %9.1fx | %.0fx is the least it may be\nratio %g\n", "ss/cut", ratio, minCutOverSS, ratio)
	if ratio < minCutOverSS {
		b.Errorf("got %.1f times faster than ss; want at least %.0f", ratio, minCutOverSS)
	}
}

// joinFar starts a process in a namespace on the other end of a wire, which
// accepts and keeps everything that comes to port 80, and returns its address. It
// ends with the benchmark. Those are not to wake in the process that is measured.
func joinFar(b *testing.B) (to string, stop func()) {
	b.Helper()
	cmd := cutProcess("accept")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Cloneflags: syscall.CLONE_NEWNET}
	stdout, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		b.Fatal(err)
	}
	stop = func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = exec.Command("ip", "link", "del", "eth0").Run()
	}
	b.Cleanup(stop)
	out, err := exec.Command("sh", "-ec", `ip link set lo up
		ip link add eth0 index 77 type veth peer name eth0 index 78 netns `+fmt.Sprint(cmd.Process.Pid)+`
		ip addr add 192.0.2.1/24 dev eth0; ip link set eth0 up
		nsenter -t `+fmt.Sprint(cmd.Process.Pid)+` -n sh -ec 'ip addr add 192.0.2.2/24 dev eth0; ip link set eth0 up'`).CombinedOutput()
	if err != nil {
		b.Fatalf("join a namespace: %v\n%s", err, out)
	}
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		if strings.Contains(lines.Text(), "accepting") {
			go io.Copy(io.Discard, stdout)
			return "192.0.2.2:80", stop
		}
	}
	b.Fatal("the process that should accept ended")
	return "", nil
}

func acceptCalls(b *testing.B) {
	l, err := net.Listen("tcp4", ":80")
	if err != nil {
		b.Fatal(err)
	}
	fmt.Println("accepting")
	for {
		c, err := l.Accept()
		if err != nil {
			b.Fatal(err)
		}
		go func() { // until either end is ended
			_, _ = c.Read(make([]byte, 1))
			c.Close()
		}()
	}
}

// startCalls has a process make the connections; they end with it.
func startCalls(b *testing.B, to string) (stop func()) {
	b.Helper()
	cmd := cutProcess("hold")
	cmd.Env = append(cmd.Env, "FIREBREAK_BENCH_TO="+to)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stdin, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		b.Fatal(err)
	}
	deadline := time.Now().Add(time.Minute)
	for openCalls(b) < benchLive {
		if time.Now().After(deadline) {
			b.Fatal("the connections were not made")
		}
		time.Sleep(50 * time.Millisecond)
	}
	return func() { stdin.Close(); _ = cmd.Wait() }
}

// holdCalls makes the connections and keeps them until its standard input ends.
func holdCalls(b *testing.B) {
	var kept []net.Conn
	for range benchLive {
		c, err := net.Dial("tcp4", os.Getenv("FIREBREAK_BENCH_TO"))
		if err != nil {
			b.Fatal(err)
		}
		kept = append(kept, c)
	}
	_, _ = os.Stdin.Read(make([]byte, 1))
	runtime.KeepAlive(kept)
}

func openCalls(b *testing.B) int {
	b.Helper()
	s, err := live.OpenSockets()
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	n := 0
	err = s.List(live.TCP, func(s *live.Socket) {
		if s.State == live.Established {
			n++
		}
	})
	if err != nil {
		b.Fatal(err)
	}
	return n
}
