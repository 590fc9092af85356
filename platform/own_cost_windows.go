package platform

import (
	"time"
	"unsafe"

	"golang.org/x/sys/windows"
)

var getProcessMemoryInfo = windows.NewLazySystemDLL("psapi.dll").NewProc("GetProcessMemoryInfo")

// memoryCounters is PROCESS_MEMORY_COUNTERS of the SDK's psapi.h.
type memoryCounters struct {
	size, faults                             uint32
	peakWorkingSet, workingSet               uintptr
	peakPaged, paged, peakNonPaged, nonPaged uintptr
	pagefile, peakPagefile                   uintptr
}

// ownCost is what the agent holds of memory (its working set) and has used of
// processors, in seconds.
func ownCost() (uint64, float64) {
	self := windows.CurrentProcess()
	var rss uint64
	memory := memoryCounters{size: uint32(unsafe.Sizeof(memoryCounters{}))}
	if getProcessMemoryInfo.Find() == nil {
		if ok, _, _ := getProcessMemoryInfo.Call(uintptr(self), uintptr(unsafe.Pointer(&memory)), uintptr(memory.size)); ok != 0 {
			rss = uint64(memory.workingSet)
		}
	}
	var created, exited, kernel, user windows.Filetime
	if windows.GetProcessTimes(self, &created, &exited, &kernel, &user) != nil {
		return rss, 0
	}
	ticks := func(f windows.Filetime) uint64 { return uint64(f.HighDateTime)<<32 | uint64(f.LowDateTime) }
	return rss, (time.Duration(ticks(kernel)+ticks(user)) * 100).Seconds()
}
