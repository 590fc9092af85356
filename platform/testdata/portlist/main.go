// Command portlist tells what one reading of tailscale's portlist costs, once its
// owners are known: the least CPU time of a number of polls.
package main

import (
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"

	"tailscale.com/portlist"
)

func main() {
	n, err := strconv.Atoi(os.Args[1])
	if err != nil {
		panic(err)
	}
	var p portlist.Poller
	p.IncludeLocalhost = true
	if _, _, err := p.Poll(); err != nil {
		panic(err)
	}
	defer p.Close()
	least := time.Hour
	for range n {
		before := cpuTime()
		if _, _, err := p.Poll(); err != nil {
			panic(err)
		}
		least = min(least, cpuTime()-before)
	}
	fmt.Println(least.Nanoseconds())
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
