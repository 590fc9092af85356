// Demo shows Firebreak at work on a computer that is made for it and thrown away
// afterwards: a dangerous port is found, blocked, closed and proved gone, then the
// computer is isolated and released.
//
//	demo [PATH OF FIREBREAK]
//
// It needs root, to make the throw-away computer. Without it, it looks at this
// computer with `firebreak check`, which changes nothing.
package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

func main() {
	if len(os.Args) > 2 {
		if role, ok := roles[os.Args[1]]; ok {
			exit(role(os.Args[2:]))
		}
	}
	firebreak := "bin/firebreak"
	if len(os.Args) > 1 {
		firebreak = os.Args[1]
	}
	firebreak, err := filepath.Abs(firebreak)
	if err == nil {
		_, err = os.Stat(firebreak)
	}
	if err != nil {
		exit(fmt.Errorf("find the agent: %w (make demo builds it)", err))
	}
	err = tell(firebreak)
	if errors.Is(err, errNotHere) {
		fmt.Printf("The demo makes a computer to throw away, which %v.\n", err)
		fmt.Println("Instead, here is what Firebreak thinks of this computer. It only looks.")
		fmt.Println()
		err = check(firebreak)
	}
	exit(err)
}

// errNotHere says why no throw-away computer can be made.
var errNotHere = errors.New("needs root on Linux")

// check shows what `firebreak check` prints. That something is open is no fault.
func check(firebreak string) error {
	cmd := exec.Command(firebreak, "check")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	var status *exec.ExitError
	if err := cmd.Run(); err != nil && (!errors.As(err, &status) || status.ExitCode() > 1) {
		return fmt.Errorf("firebreak check: %w", err)
	}
	return nil
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
	os.Exit(0)
}
