package actions

// BlockPort shuts a port at the host's firewall.
var BlockPort = &Action{Name: "block-port", Kind: Mitigation, Disruptive: false}
