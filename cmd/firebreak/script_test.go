package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/firebreak-sec/firebreak/agent/localapi/schema"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"firebreak": func() {
			os.Exit(execute(context.Background(), os.Args[1:], newEnv(os.Stdout, os.Stderr, os.Stdin)))
		},
	})
}

// TestScripts runs the command line as a person does; each file is a story.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		UpdateScripts:       *update,
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			for _, common := range []string{"config", "state", "socket"} {
				e.Setenv(strings.ToUpper(common), e.WorkDir+"/"+common)
			}
			return letOthersIn(e)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"answers": answers,
			"exits":   exits,
			"schema":  checkSchema,
		},
		Condition: func(cond string) (bool, error) {
			return cond == "root" && privileged(), nil
		},
	})
}

// letOthersIn lets a user who is not root reach the program and the folder of a
// script, for what runs as nobody.
func letOthersIn(e *testscript.Env) error {
	program, err := exec.LookPath("firebreak")
	if err != nil {
		return err
	}
	for _, dir := range []string{filepath.Dir(filepath.Dir(program)), filepath.Dir(program), filepath.Dir(e.WorkDir), e.WorkDir} {
		if err := os.Chmod(dir, 0o755); err != nil {
			return err
		}
	}
	return nil
}

// exits runs a command and compares its exit code: exits 64 firebreak chek. With
// the word nobody before the command it runs as a user who is not root.
func exits(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) > 1 && args[1] == "nobody" {
		as := []string{args[0]}
		if privileged() {
			as = append(as, "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--")
		}
		args = append(as, args[2:]...)
	}
	err := ts.Exec(args[1], args[2:]...)
	got := "0"
	if err != nil {
		got = strings.TrimPrefix(err.Error(), "exit status ")
	}
	if got != args[0] {
		ts.Fatalf("%s: exit code %s; want %s", strings.Join(args[1:], " "), got, args[0])
	}
}

// answers waits until a command no longer says that no agent is running, or that it
// has not looked yet.
func answers(ts *testscript.TestScript, _ bool, args []string) {
	for range 100 {
		err := ts.Exec(args[0], args[1:]...)
		if err == nil || err.Error() != "exit status 4" && err.Error() != "exit status 2" {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	ts.Fatalf("no agent answers")
}

// checkSchema compares the last standard output with the schema, each JSON value
// in it: schema check.
func checkSchema(ts *testscript.TestScript, _ bool, args []string) {
	values := json.NewDecoder(strings.NewReader(ts.ReadFile("stdout")))
	for n := 0; ; n++ {
		var value json.RawMessage
		err := values.Decode(&value)
		if errors.Is(err, io.EOF) && n > 0 {
			return
		}
		ts.Check(err)
		if problems := schema.Violations(args[0], value); len(problems) > 0 {
			ts.Fatalf("the output breaks the contract:\n%s", strings.Join(problems, "\n"))
		}
	}
}
