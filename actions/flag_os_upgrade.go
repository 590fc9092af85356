package actions

// FlagOSUpgrade asks a person to upgrade the operating system.
var FlagOSUpgrade = &Action{Name: "flag-os-upgrade", Kind: Remediation}
