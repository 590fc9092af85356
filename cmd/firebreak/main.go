// Command firebreak is the agent and its command line: it finds what threatens
// this computer, lessens the danger, removes the cause, and proves that it is
// gone. Each command has one file of its own name.
package main

import (
	"context"
	"os"
)

func main() {
	os.Exit(execute(context.Background(), os.Args[1:], newEnv(os.Stdout, os.Stderr, os.Stdin)))
}

// execute runs one command line and returns its exit code.
func execute(ctx context.Context, args []string, e *env) int {
	root := newRoot(e)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	return e.report(err)
}
