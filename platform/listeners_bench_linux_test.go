package platform

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	gopsutil "github.com/shirou/gopsutil/v3/net"
	"golang.org/x/sys/unix"
)

// The bars that BenchmarkListeners holds the reading of listeners to.
const (
	benchListeners   = 20
	benchConnections = 10_000
	benchHolders     = 5 // processes that share the sockets evenly

	minOverGopsutil = 300.0 // times less CPU, owners known
	minOverSS       = 100.0
	minColdOverSS   = 1.0 // times faster, owners looked for

	maxPoll = 150 * time.Microsecond // CPU time; one a second is 0.015 % of a core
)

// benchRole is set in the processes that BenchmarkListeners makes of itself.
const benchRole = "FIREBREAK_BENCH_ROLE"

// BenchmarkListeners compares one reading of all listeners, owners included,
// with gopsutil and ss, in a new network namespace with 20 listeners and 10,000
// established connections. Costs are CPU time by getrusage; the cold reading, in
// which nothing is known yet, is compared by the clock as well. It fails where a
// bar is missed.
func BenchmarkListeners(b *testing.B) {
	switch os.Getenv(benchRole) {
	case "hold":
		holdBenchSockets(b)
		return
	case "measure":
		measureListeners(b)
		return
	}
	if os.Geteuid() != 0 {
		b.Skip("makes a network namespace and looks into other users' processes: needs root")
	}
	if _, err := exec.LookPath("ss"); err != nil {
		b.Skip("compares with ss, which is not installed (package iproute2)")
	}
	cmd := benchProcess("measure")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	out, err := cmd.CombinedOutput()
	for line := range strings.Lines(string(out)) {
		var name string
		var value float64
		if n, _ := fmt.Sscanf(line, "metric %s %g", &name, &value); n == 2 {
			b.ReportMetric(value, name)
		} else if strings.HasPrefix(line, "|") {
			fmt.Print(line)
		}
	}
	if err != nil {
		b.Fatalf("measure in a new network namespace: %v\n%s", err, out)
	}
	b.ReportMetric(0, "ns/op") // the ratios are the result
}

func benchProcess(role string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", "-test.run=^$", "-test.bench=^BenchmarkListeners$", "-test.benchtime=1x")
	cmd.Env = append(os.Environ(), benchRole+"="+role)
	return cmd
}

// cost is what one reading took.
type cost struct{ cpu, wall time.Duration }

func measureListeners(b *testing.B) {
	if err := loopbackUp(); err != nil {
		b.Fatal(err)
	}
	for range benchHolders {
		startBenchHolder(b)
	}
	ctx := context.Background()
	warm := newBenchReader(b)
	checkBenchReading(b, warm)
	read := func() { readBench(b, ctx, warm) }
	steady := measure(unix.RUSAGE_SELF, 5, 100, read)
	watch := listenerWatch{diag: warm.diag, udp: warm.udp}
	poll := measure(unix.RUSAGE_SELF, 5, 1000, func() {
		if _, err := watch.poll(); err != nil {
			b.Fatal(err)
		}
	})
	cold := measure(unix.RUSAGE_SELF, 7, 1, func() {
		r := newBenchReader(b)
		defer r.close()
		readBench(b, ctx, r)
	})
	ss := measure(unix.RUSAGE_CHILDREN, 7, 1, func() {
		if err := exec.Command("ss", "-H", "-lntup").Run(); err != nil {
			b.Fatal(err)
		}
	})
	peer := measure(unix.RUSAGE_SELF, 3, 1, func() {
		if _, err := gopsutil.Connections("inet"); err != nil {
			b.Fatal(err)
		}
	})
	reportListeners(b, poll, steady, cold, ss, peer)
}

// reportListeners prints what was measured, and fails where a bar is missed.
func reportListeners(b *testing.B, poll, steady, cold, ss, peer cost) {
	rows := []struct {
		name string
		cost
	}{{"poll for events", poll}, {"steady, owners known", steady}, {"cold, owners looked for", cold}, {"ss -H -lntup", ss}, {"gopsutil v3 Connections", peer}}
	fmt.Printf("| %-24s | %10s | %10s |\n", fmt.Sprintf("%d listeners, %d connections", benchListeners, benchConnections), "CPU ms", "wall ms")
	for _, r := range rows {
		fmt.Printf("| %-24s | %10.3f | %10.3f |\n", r.name, ms(r.cpu), ms(r.wall))
	}
	bars := []struct {
		metric    string
		got, want float64
	}{
		{"gopsutil/steady", float64(peer.cpu) / float64(steady.cpu), minOverGopsutil},
		{"ss/steady", float64(ss.cpu) / float64(steady.cpu), minOverSS},
		{"ss/cold-cpu", float64(ss.cpu) / float64(cold.cpu), minColdOverSS},
		{"ss/cold-wall", float64(ss.wall) / float64(cold.wall), minColdOverSS},
	}
	for _, bar := range bars {
		fmt.Printf("| %-24s | %9.1fx | %9.0fx | the least it may be\n", bar.metric, bar.got, bar.want)
		fmt.Printf("metric %s %g\n", bar.metric, bar.got)
	}
	for _, bar := range bars {
		if bar.got < bar.want {
			b.Errorf("%s: got %.1f; want at least %.0f", bar.metric, bar.got, bar.want)
		}
	}
	if poll.cpu > maxPoll {
		b.Errorf("a poll took %v of CPU; want at most %v", poll.cpu, maxPoll)
	}
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// measure runs f in rounds of n and returns the median round's cost of one run.
func measure(who, rounds, n int, f func()) cost {
	f()
	cpu, wall := make([]time.Duration, rounds), make([]time.Duration, rounds)
	for i := range rounds {
		began, used := time.Now(), cpuTime(who)
		for range n {
			f()
		}
		wall[i], cpu[i] = time.Since(began)/time.Duration(n), (cpuTime(who)-used)/time.Duration(n)
	}
	slices.Sort(cpu)
	slices.Sort(wall)
	return cost{max(cpu[rounds/2], time.Microsecond), wall[rounds/2]}
}

func cpuTime(who int) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(who, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func newBenchReader(b *testing.B) *listenerReader {
	r, err := newListenerReader()
	if err != nil {
		b.Fatal(err)
	}
	return r
}

func readBench(b *testing.B, ctx context.Context, r *listenerReader) []Listener {
	found, _, err := r.read(ctx, true)
	if err != nil || len(found) != benchListeners {
		b.Fatalf("got %d listeners, error %v; want %d", len(found), err, benchListeners)
	}
	return found
}

func checkBenchReading(b *testing.B, r *listenerReader) {
	owners := map[int]bool{}
	for _, l := range readBench(b, context.Background(), r) {
		if l.Owner.PID == 0 || l.Owner.Exe == "" || l.Owner.User != "root" {
			b.Fatalf("got owner %+v of port %d; want all of it", l.Owner, l.Port)
		}
		owners[l.Owner.PID] = true
	}
	if len(owners) != benchHolders {
		b.Fatalf("got %d owners; want %d", len(owners), benchHolders)
	}
}

// startBenchHolder starts a process with its share of the sockets, and waits
// until it has them all. It ends with the benchmark.
func startBenchHolder(b *testing.B) {
	cmd := benchProcess("hold")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		stdin.Close()
		cmd.Wait()
	})
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		if strings.Contains(lines.Text(), "holding") {
			go io.Copy(io.Discard, stdout)
			return
		}
	}
	b.Fatal("a process that should hold sockets ended")
}

// holdBenchSockets makes one process's share of the sockets and keeps them until
// its standard input ends. The listeners come last, where a search of open files
// finds them last.
func holdBenchSockets(b *testing.B) {
	accepting, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	var kept []io.Closer
	for range benchConnections / benchHolders {
		dialled, err := net.Dial("tcp4", accepting.Addr().String())
		if err != nil {
			b.Fatal(err)
		}
		accepted, err := accepting.Accept()
		if err != nil {
			b.Fatal(err)
		}
		kept = append(kept, dialled, accepted)
	}
	accepting.Close()
	for range benchListeners / benchHolders {
		l, err := net.Listen("tcp", ":0")
		if err != nil {
			b.Fatal(err)
		}
		kept = append(kept, l)
	}
	fmt.Println("holding", len(kept))
	io.Copy(io.Discard, os.Stdin)
}

// loopbackUp starts the loopback interface of a new network namespace.
func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	lo.SetUint16(unix.IFF_UP)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo)
}
