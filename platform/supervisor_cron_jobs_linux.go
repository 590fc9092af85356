package platform

import (
	"path/filepath"
	"slices"
	"strings"
)

// cronJob is one line of a crontab that runs a command.
type cronJob struct {
	line    string // with its end
	when    string // "@reboot", "* * * * *"
	user    string // only in a crontab of the system
	command string
}

// parseCrontab reads the jobs of a crontab. Those of the system name a user.
func parseCrontab(text string, system bool) []cronJob {
	var jobs []cronJob
	for line := range strings.Lines(text) {
		if job, ok := parseCronLine(line, system); ok {
			jobs = append(jobs, job)
		}
	}
	return jobs
}

func parseCronLine(line string, system bool) (cronJob, bool) {
	rest := strings.Trim(line, " \t\r\n")
	if rest == "" || rest[0] == '#' || isCronSetting(rest) {
		return cronJob{}, false
	}
	fields := 5
	if rest[0] == '@' {
		fields = 1
	}
	var words []string
	if system {
		fields++
	}
	for range fields {
		var word string
		if word, rest = cutWord(rest); word == "" {
			return cronJob{}, false
		}
		words = append(words, word)
	}
	if rest == "" {
		return cronJob{}, false
	}
	job := cronJob{line: line, command: cronCommand(rest)}
	if system {
		job.user, words = words[len(words)-1], words[:len(words)-1]
	}
	job.when = strings.Join(words, " ")
	return job, true
}

// isCronSetting tells a line "NAME = value" from a job, as cron does: a job
// begins with a time.
func isCronSetting(line string) bool {
	name, _, ok := strings.Cut(line, "=")
	return ok && line[0] != '@' && line[0] != '*' && (line[0] < '0' || line[0] > '9') && !strings.ContainsAny(strings.TrimSpace(name), " \t")
}

func cutWord(s string) (word, rest string) {
	s = strings.TrimLeft(s, " \t")
	i := strings.IndexAny(s, " \t")
	if i < 0 {
		return s, ""
	}
	return s[:i], strings.TrimLeft(s[i:], " \t")
}

// cronCommand returns what the shell is given: a "%" begins the standard input,
// unless it is escaped.
func cronCommand(s string) string {
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s) && s[i+1] == '%':
		case s[i] == '%' && (i == 0 || s[i-1] != '\\'):
			return out.String()
		default:
			out.WriteByte(s[i])
		}
	}
	return out.String()
}

// starts tells whether the command starts a process with these arguments: a
// shell is given the command as a whole, and any other program is one that it
// calls.
func (j cronJob) starts(args []string) bool {
	if len(args) >= 3 && args[1] == "-c" && args[2] == j.command {
		return true
	}
	for _, called := range calls(j.command) {
		if isCall(called, args) || len(args) > 1 && isCall(called, args[1:]) { // the script of an interpreter
			return true
		}
	}
	return false
}

// isCall tells whether a call has exactly these arguments, and what has no part
// in them behind them.
func isCall(called, args []string) bool {
	if len(args) == 0 || len(called) < len(args) || args[0] == "" ||
		called[0] != args[0] && filepath.Base(called[0]) != filepath.Base(args[0]) {
		return false
	}
	if strings.Contains(called[0], "/") && strings.Contains(args[0], "/") && called[0] != args[0] {
		return false
	}
	return slices.Equal(called[1:len(args)], args[1:]) &&
		!slices.ContainsFunc(called[len(args):], func(word string) bool { return !strings.ContainsAny(word, "<>&") && !isRedirectTarget(called, word) })
}

func isRedirectTarget(called []string, word string) bool {
	i := slices.Index(called, word)
	return i > 0 && strings.HasSuffix(called[i-1], ">") || i > 0 && strings.HasSuffix(called[i-1], "<")
}

// openers are words that a call may follow, and that are none themselves.
var openers = []string{"nohup", "exec", "setsid", "env", "sudo", "nice", "ionice", "timeout", "then", "do", "else", "{", "!", "if", "while"}

// calls returns the calls that a command line of a shell makes, as words. It
// knows quotes and what parts calls, and no more of the shell.
func calls(command string) [][]string {
	var all [][]string
	for _, words := range shellWords(command) {
		for len(words) > 0 && (slices.Contains(openers, words[0]) || strings.HasPrefix(words[0], "-") ||
			strings.Contains(words[0], "=") || strings.Trim(words[0], "0123456789smh") == "") {
			words = words[1:]
		}
		if len(words) > 0 {
			all = append(all, words)
		}
	}
	return all
}

// shellWords splits a command line at what parts calls, and each call into words.
func shellWords(command string) [][]string {
	var all [][]string
	var call []string
	var word strings.Builder
	var quote byte
	inWord := false
	endWord := func() {
		if inWord {
			call, inWord = append(call, word.String()), false
			word.Reset()
		}
	}
	endCall := func() {
		endWord()
		if len(call) > 0 {
			all, call = append(all, call), nil
		}
	}
	for i := 0; i < len(command); i++ {
		c := command[i]
		switch {
		case quote != 0 && c == quote:
			quote = 0
		case quote != 0:
			word.WriteByte(c)
		case c == '\'' || c == '"':
			quote, inWord = c, true
		case c == '\\' && i+1 < len(command):
			i++
			word.WriteByte(command[i])
			inWord = true
		case c == ' ' || c == '\t':
			endWord()
		case c == '&' && inRedirect(command, i):
			word.WriteByte(c)
			inWord = true
		case strings.IndexByte(";&|()\n`", c) >= 0:
			endCall()
		default:
			word.WriteByte(c)
			inWord = true
		}
	}
	endCall()
	return all
}

// inRedirect tells whether an "&" is one of ">&" or "&>".
func inRedirect(command string, i int) bool {
	return i > 0 && command[i-1] == '>' || i+1 < len(command) && command[i+1] == '>'
}
