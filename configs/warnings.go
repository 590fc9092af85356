package configs

import "fmt"

// Warnings are what an administrator should know of a policy that is valid, one
// sentence each.
func (p Policy) Warnings() []string {
	var out []string
	for _, text := range p.Isolation.Keep {
		k, err := ParseKeep(text)
		if err != nil {
			continue // a policy with an error in it has no warnings
		}
		whose, programs := map[KeepKind]string{KeepUser: "user", KeepUnit: "service"}[k.Kind]
		if programs {
			out = append(out, fmt.Sprintf("%s widens what gets out: while isolated, every program of this %s can connect to anybody", text, whose))
		}
	}
	if len(out) > 0 {
		out = append(out, "users and services that are kept are told apart by a mark on their packets: a program that runs as root can forge it and get out as well")
	}
	return out
}
