package actions

// ClosePort makes the owner of a port stop listening.
var ClosePort = &Action{Name: "close-port", Kind: Remediation, Disruptive: true}
