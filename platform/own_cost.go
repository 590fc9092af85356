package platform

// OwnCost returns what this process costs: resident memory in bytes, and the
// CPU time it has used in seconds. Both are 0 where they cannot be read.
func OwnCost() (rssBytes uint64, cpuSeconds float64) { return ownCost() }
