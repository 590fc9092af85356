package configs

// Lifecycle is the table of operating system lifecycles.
type Lifecycle struct{}
