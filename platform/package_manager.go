package platform

import "context"

// PackageManager changes what is installed, through the host's own package
// manager and no other way.
type PackageManager interface {
	// Plan says what bringing those packages to their newest versions would do;
	// none means all that are pending. It changes nothing and takes no lock.
	Plan(ctx context.Context, names []string) (UpdatePlan, error)
	// Install carries out a plan and nothing beyond it. It returns ErrChanged if
	// that is no longer what would be done, having done nothing. One that was
	// broken off is finished by Repair and by calling it again.
	Install(ctx context.Context, p UpdatePlan) error
	// Repair finishes what an earlier run left half done, and says what it did;
	// nothing if all was well.
	Repair(context.Context) ([]string, error)
	// Ground says what stands in the way of an installation now.
	Ground(context.Context) (UpdateGround, error)
}

// UpdatePlan is what the package manager would do.
type UpdatePlan struct {
	Manager  string          `json:"manager"` // apt | dnf
	Changes  []PackageChange `json:"changes"` // by name
	Download int64           `json:"download"`
	Disk     int64           `json:"disk"` // bytes more than now, may be negative
}

// PackageChange is one package of a plan.
type PackageChange struct {
	Name string `json:"name"`
	Arch string `json:"arch"`
	From string `json:"from"` // "" if it is not installed yet
	To   string `json:"to"`   // "" if it is removed
}

// UpdateGround is what an installation depends on.
type UpdateGround struct {
	OnBattery bool   `json:"on_battery"`
	Charge    int    `json:"charge"`  // percent; -1 if there is no battery
	Metered   bool   `json:"metered"` // the network costs by volume, as the host's own settings say
	Free      int64  `json:"free"`    // bytes on the file system of packages
	FreeBoot  int64  `json:"free_boot"`
	Busy      string `json:"busy"` // who else is installing now: "unattended-upgrade (process 812)"
	// HalfDone says that an earlier run was broken off.
	HalfDone bool `json:"half_done"`
}
