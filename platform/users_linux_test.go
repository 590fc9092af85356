package platform

import (
	"strings"
	"testing"
)

func TestIDInPasswd(t *testing.T) {
	passwd := []byte("root:x:0:0::/root:/bin/sh\nrust:x:12:12::/:/bin/sh\nrustdesk:x:998:998::/:/bin/sh\nbad:x:-1:0::/:/bin/sh\nhalf:x\n")
	for name, want := range map[string]uint32{"root": 0, "rust": 12, "rustdesk": 998} {
		if got, err := idInPasswd(passwd, name); err != nil || got != want {
			t.Errorf("%s: got %d, %v; want %d", name, got, err, want)
		}
	}
	for name, want := range map[string]string{
		"desk": "there is no user desk in /etc/passwd", "half": "there is no user half", "bad": "number of user bad in /etc/passwd: ", "": "there is no user",
	} {
		if got, err := idInPasswd(passwd, name); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: got %d, %v; want %s", name, got, err, want)
		}
	}
	if id, err := UserID("root"); err != nil || id != 0 {
		t.Errorf("root: got %d, %v", id, err)
	}
}
