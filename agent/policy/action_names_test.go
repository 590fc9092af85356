package policy_test

import (
	"slices"
	"testing"

	"github.com/firebreak-sec/firebreak/actions"
	"github.com/firebreak-sec/firebreak/configs"
)

// Every action that exists may be named in a policy, under the verb of its
// kind. A policy may name more: those are gaps on hosts that cannot do them.
func TestPoliciesMayNameEveryAction(t *testing.T) {
	for _, action := range actions.All() {
		name := configs.ActionName{Name: action.Name, Kind: string(action.Kind)}
		if !slices.Contains(configs.ActionNames, name) {
			t.Errorf("configs.ActionNames lacks %+v", name)
		}
	}
}
