package agent

import (
	"slices"
	"strings"
	"testing"
)

// Users are kept by number, and services by name; who is not known is told.
func TestKeptPrograms(t *testing.T) {
	list := []string{"hub", "user:root-is-not-this", "unit:rustdesk.service", "user:nobody"}
	iso, _ := keep(list)
	if !slices.Equal(iso.Units, []string{"rustdesk.service"}) {
		t.Errorf("got units %q", iso.Units)
	}
	users, err := keptUsers(list)
	if err == nil || !strings.HasPrefix(err.Error(), "an isolated host could not keep a user that policy names: ") ||
		!strings.Contains(err.Error(), "root-is-not-this") || strings.Contains(err.Error(), "nobody") {
		t.Errorf("got %v", err)
	}
	if !slices.Equal(users, []uint32{65534}) {
		t.Errorf("got users %d; want that of nobody", users)
	}
}
