package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// The groups of commands, as help lists them.
const (
	toLook  = "look"
	toAct   = "act"
	toSetUp = "setup"
)

// newRoot returns the whole command line.
func newRoot(e *env) *cobra.Command {
	root := &cobra.Command{
		Use:   "firebreak",
		Short: "Finds what threatens this computer, contains it, removes it, and proves that it is gone",
		Long: "Firebreak finds what threatens this computer, lessens the danger at once,\n" +
			"removes the cause, and then proves that the threat is gone.\n\n" +
			"New here? `sudo firebreak check` changes nothing, and says what to do.",
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	commands := []struct {
		group   string
		command *cobra.Command
	}{
		{toLook, newCheck(e)},
		{toLook, newStatus(e)},
		{toLook, newThreats(e)},
		{toLook, newExplain(e)},
		{toLook, newHistory(e)},
		{toLook, newEvidence(e)},
		{toLook, newDoctor(e)},
		{toAct, newIsolate(e)},
		{toAct, newRelease(e)},
		{toAct, newApprove(e)},
		{toAct, newExcept(e)},
		{toAct, newUndo(e)},
		{toAct, newRecheck(e)},
		{toAct, newPause(e)},
		{toAct, newResume(e)},
		{toSetUp, newPolicy(e)},
		{toSetUp, newInstall(e)},
		{toSetUp, newUninstall(e)},
		{toSetUp, newStart(e)},
		{toSetUp, newStop(e)},
		{toSetUp, newRestart(e)},
		{toSetUp, newRun(e)},
		{toSetUp, newVersion(e)},
	}
	root.AddGroup(
		&cobra.Group{ID: toLook, Title: "Look (changes nothing):"},
		&cobra.Group{ID: toAct, Title: "Act:"},
		&cobra.Group{ID: toSetUp, Title: "Set up:"},
	)
	root.SetHelpCommandGroupID(toSetUp)
	root.SetCompletionCommandGroupID(toSetUp)
	for _, c := range commands {
		c.command.GroupID = c.group
		root.AddCommand(c.command)
	}
	root.AddCommand(newRestore(e))
	e.commonFlags(root.PersistentFlags())
	root.SetOut(e.out)
	root.SetErr(e.err)
	root.SetUsageTemplate(strings.ReplaceAll(root.UsageTemplate(), ".FlagUsages", fmt.Sprintf(".FlagUsagesWrapped %d", screenWidth)))
	strict(root)
	return root
}

func (e *env) commonFlags(flags *pflag.FlagSet) {
	config, state, socket := defaultPlaces()
	flags.StringVar(&e.config, "config", config, "folder of policy.yaml")
	flags.StringVar(&e.state, "state", state, "folder of the journal and the evidence")
	flags.StringVar(&e.socket, "socket", socket, "where the agent answers")
	flags.BoolVar(&e.json, "json", false, "print JSON (schema 1)")
}

func defaultPlaces() (config, state, socket string) {
	if runtime.GOOS == "windows" {
		data := filepath.Join(os.Getenv("ProgramData"), "Firebreak")
		return data, filepath.Join(data, "State"), `\\.\pipe\firebreak`
	}
	return "/etc/firebreak", "/var/lib/firebreak", "/run/firebreak/agent.sock"
}

// strict makes every mistake on the command line a usage error that says what
// may have been meant.
func strict(c *cobra.Command) {
	c.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		text := err.Error()
		if name, ok := strings.CutPrefix(text, "unknown flag: --"); ok {
			text += didYouMean(name, flagNames(c), "--")
		}
		return usagef("%s\nsee: %s --help", text, c.CommandPath())
	})
	if c.HasSubCommands() {
		c.Args = cobra.ArbitraryArgs
		c.RunE = func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return c.Help()
			}
			return usagef("there is no command %q%s\nsee: %s --help", c.CommandPath()+" "+args[0],
				didYouMean(args[0], commandNames(c), ""), c.CommandPath())
		}
	} else if check := c.Args; check != nil {
		c.Args = func(c *cobra.Command, args []string) error {
			if err := check(c, args); err != nil {
				return usagef("%s takes %s\nsee: %s --help", c.CommandPath(), arguments(c), c.CommandPath())
			}
			return nil
		}
	}
	for _, sub := range c.Commands() {
		strict(sub)
	}
}

// arguments says which arguments a command takes, from its use line.
func arguments(c *cobra.Command) string {
	_, rest, _ := strings.Cut(c.Use, " ")
	if rest == "" {
		return "no arguments"
	}
	return rest
}

func flagNames(c *cobra.Command) []string {
	var names []string
	c.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	c.InheritedFlags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	return names
}

func commandNames(c *cobra.Command) []string {
	var names []string
	for _, sub := range c.Commands() {
		names = append(names, sub.Name())
	}
	return names
}

// didYouMean names the nearest known word, if one is near.
func didYouMean(word string, known []string, prefix string) string {
	best, nearest := "", max(2, len(word)/3)+1
	for _, k := range known {
		if d := distance(word, k); d < nearest {
			best, nearest = k, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(", did you mean %q?", prefix+best)
}

// distance is how many letters must be added, dropped or replaced to get from a
// to b.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(row[j+1]+1, row[j]+1, cost)
		}
	}
	return row[len(b)]
}

// threatID completes the ID of an open threat, if an agent is there to ask.
func threatID(e *env) cobra.CompletionFunc {
	return func(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		ctx := c.Context()
		if ctx == nil {
			ctx = context.Background()
		}
		list, err := e.agent().Threats(ctx, false)
		if err != nil || len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var ids []string
		for _, t := range list.Threats {
			ids = append(ids, t.ID+"\t"+text(t.Summary))
		}
		return ids, cobra.ShellCompDirectiveNoFileComp
	}
}
