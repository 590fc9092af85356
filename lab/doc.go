// Package lab boots real Debian hosts with systemd on this machine, connects
// them by a network of their own, and looks at them from outside with nmap.
//
// A host is a container of systemd-nspawn with its own network namespace (a new
// one at every boot), its own cgroup and its own copy of a root file system that
// debootstrap made once, from the machine's own apt sources. Nothing of the
// machine's own network is touched: every host, the attacker and the management
// computer hang on a switch in a namespace of its own.
//
//	attacker 10.77.0.66 ---+
//	management 10.77.0.2 --+-- switch --+-- first host  10.77.0.11, fd77::11
//	                                    +-- second host 10.77.0.12, fd77::12
//
// The lab needs root and a few programs. Where they are missing its tests are
// skipped with the reason; with FIREBREAK_LAB=required that is a failure, and
// with FIREBREAK_LAB=off no host is booted.
package lab
